package cluster_test

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/dactyl-os/dactyl/services/kit/kittest"
	"github.com/dactyl-os/dactyl/tools/internal/cluster"
)

// alive is a system of 30 bytes: it says "alive" on the serial line and halts. Where it is loaded does not matter to it.
var alive = append([]byte{
	0xe8, 0x00, 0x00, 0x5e, 0x0e, 0x1f, 0x83, 0xc6, 0x14, // find the text behind the code
	0xba, 0xf8, 0x03, 0xac, 0x84, 0xc0, 0x74, 0x03, 0xee, 0xeb, 0xf8, // say it
	0xf4, 0xeb, 0xfd,
}, "alive\n\x00"...)

// bootable makes an ISO that boots it.
func bootable(t *testing.T) string {
	t.Helper()

	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "boot"), append(bytes.Clone(alive), make([]byte, 2048-len(alive))...), 0o600); err != nil {
		t.Fatal(err)
	}

	iso := filepath.Join(t.TempDir(), "alive.iso")

	cmd := exec.CommandContext(t.Context(), "genisoimage", "-quiet", "-o", iso, "-b", "boot", "-no-emul-boot", "-boot-load-size", "4", ".")
	cmd.Dir = dir

	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("genisoimage: %v\n%s", err, out)
	}

	return iso
}

// TestVirtualMachines: they boot, are reset by q and by a power cut, keep their disks, and leave nothing behind.
func TestVirtualMachines(t *testing.T) {
	kittest.RequireRoot(t)

	dir := t.TempDir()
	s := cluster.Spec{
		Name: "prov", CIDR: "10.231.9.0/24", StateDir: filepath.Join(dir, "state"), ClientConfig: filepath.Join(dir, "home", "config"), Provisioner: cluster.QEMU,
		ControlPlanes: 1, Workers: 1, NoWait: true,
		VMs: cluster.VMs{Arch: "amd64", CPUs: "1", CPUsWorkers: "1", Memory: 256, MemoryWorkers: 256, Disk: 1024, ExtraDisks: 1, ExtraDiskSize: 100, ISO: bootable(t), Injection: cluster.MetalISO},
	}
	before := host(t, s.StateDir, "none")

	c, err := cluster.Create(t.Context(), s, t.Output())
	if err != nil {
		t.Fatal(err)
	}

	t.Cleanup(func() { _ = cluster.Destroy(t.Context(), s.StateDir, s.Name, t.Output()) })

	said := func(m *cluster.Machine, times int) {
		t.Helper()
		kittest.AwaitNoError(t, 60*time.Second, func() error {
			data, err := os.ReadFile(m.ConsolePath())
			if err == nil && strings.Count(string(data), "alive") < times {
				err = fmt.Errorf("the console says\n%s", data)
			}

			return err
		})
	}

	first, second := c.Machines()[0], c.Machines()[1]
	said(first, 1)
	said(second, 1)

	supervisor, err := first.SupervisorPID()
	if err != nil {
		t.Fatal(err)
	}

	quick := exec.CommandContext(t.Context(), "socat", "-", "unix-connect:"+first.MonitorPath())
	quick.Stdin = strings.NewReader("q\n")

	if out, err := quick.CombinedOutput(); err != nil {
		t.Fatalf("socat: %v %s", err, out)
	}

	said(first, 2)

	emulator, err := first.InitPID()
	if err != nil {
		t.Fatal(err)
	}

	if err := syscall.Kill(emulator, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}

	said(first, 3)

	if now, err := first.SupervisorPID(); err != nil || now != supervisor {
		t.Errorf("another supervisor: %d, before %d, %v", now, supervisor, err)
	}

	args, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", must(t, first.InitPID)))
	if err != nil {
		t.Fatal(err)
	}

	for _, want := range []string{"uuid=" + first.UUID + ",serial=" + first.Name, "mac=" + first.MAC, "ifname=" + first.Link, first.Name + "-config.iso"} {
		if !strings.Contains(string(args), want) {
			t.Errorf("QEMU is not told %s", want)
		}
	}

	for index, size := range []int64{1024 << 20, 100 << 20} {
		info, err := os.Stat(first.DiskPath(index))
		if err != nil || info.Size() != size {
			t.Errorf("disk %d: %v", index, err)
		}
	}

	refused(t, s)

	// A supervisor that dies takes its machine with it, and create brings both back.
	if err := syscall.Kill(supervisor, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}

	kittest.Await(t, 10*time.Second, "the machine is gone", func() bool { return first.Condition() == cluster.Lost })

	s.VMs.Disk, s.VMs.Memory, s.VMs.ExtraDisks, s.VMs.Given = 1500, 300, 2, map[string]bool{"disk": true, "memory": true, "extra-disks": true}

	if _, err := cluster.Create(t.Context(), s, t.Output()); err != nil {
		t.Fatal(err)
	}

	said(first, 4)
	changed(t, first)

	// Destroying needs no supervisor, and none of the services.
	services := exec.CommandContext(t.Context(), "pgrep", "--full", "--", "--services --state "+s.StateDir)

	out, err := services.Output()
	if err != nil {
		t.Fatal(err)
	}

	var server int
	if _, err := fmt.Sscan(string(out), &server); err != nil {
		t.Fatal(err)
	}

	for _, pid := range []int{must(t, first.SupervisorPID), server} {
		if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
	}

	if err := cluster.Destroy(t.Context(), s.StateDir, s.Name, t.Output()); err != nil {
		t.Fatal(err)
	}

	if after := host(t, s.StateDir, c.Bridge); after != before {
		t.Errorf("before:\n%s\nafter:\n%s", before, after)
	}
}

// changed: flags that are given change the machine from its next boot on, and its disks keep what is on them.
func changed(t *testing.T, m *cluster.Machine) {
	t.Helper()

	args, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", must(t, m.InitPID)))
	if err != nil {
		t.Fatal(err)
	}

	if !strings.Contains(string(args), "\x00-m\x00300\x00") {
		t.Errorf("QEMU has other memory than 300 MiB: %q", args)
	}

	for index, size := range []int64{1500 << 20, 100 << 20, 100 << 20} {
		if info, err := os.Stat(m.DiskPath(index)); err != nil || info.Size() != size {
			t.Errorf("disk %d: %v, want %d bytes", index, err, size)
		}
	}
}

// refused: a cluster does not change what it is made of.
func refused(t *testing.T, s cluster.Spec) {
	t.Helper()

	s.Provisioner, s.Binaries, s.Manifests = cluster.DefaultProvisioner, t.TempDir(), t.TempDir()

	if _, err := cluster.Create(t.Context(), s, t.Output()); err == nil || !strings.Contains(err.Error(), "made by the qemu provisioner") {
		t.Errorf("create with another provisioner: %v", err)
	}

	s.Provisioner, s.VMs.ExtraDisks, s.VMs.Given = cluster.QEMU, 0, map[string]bool{"extra-disks": true}

	if _, err := cluster.Create(t.Context(), s, t.Output()); err == nil || !strings.Contains(err.Error(), "--extra-disks 0: cluster \"prov\" has 1 further disks, which only grow") {
		t.Errorf("create with fewer disks: %v", err)
	}
}

func must(t *testing.T, get func() (int, error)) int {
	t.Helper()

	n, err := get()
	if err != nil {
		t.Fatal(err)
	}

	return n
}
