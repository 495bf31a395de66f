package qemu_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"
	"github.com/vishvananda/netlink"

	"github.com/dactyl-os/dactyl/services/kit/kittest"
	"github.com/dactyl-os/dactyl/tools/internal/cluster/qemu"
)

func TestArgs(t *testing.T) {
	vm := qemu.VM{
		Name: "lab-worker-1", UUID: "u-1", Serial: "lab-worker-1", Arch: "amd64", CPUs: 2, MemoryMB: 512, Kernel: "/k", Initrd: "/i", Cmdline: "console=ttyS0 panic=1",
		Disks: []qemu.Disk{{Path: "/a,b"}, {Path: "/c", Driver: "nvme"}, {Path: "/d", Driver: "scsi"}}, ConfigISO: "/iso", MAC: "02:00:00:00:00:01", Tap: "dv1", Console: "/log",
	}

	has := func(want ...string) {
		t.Helper()

		args := vm.Args()
		if !slices.ContainsFunc(args, func(string) bool { return true }) || !strings.Contains(" "+strings.Join(args, " ")+" ", " "+strings.Join(want, " ")+" ") {
			t.Errorf("%v is not in\n%v", want, args)
		}
	}

	has("-accel", "tcg,thread=multi", "-cpu", "max,-erms,-fsrm")
	has("-kernel", "/k", "-initrd", "/i", "-append", "console=ttyS0 panic=1")
	has("-drive", "if=none,format=raw,cache=writeback,discard=unmap,id=disk0,file=/a,,b", "-device", "virtio-blk-pci,drive=disk0,serial=lab-worker-1-0")
	has("-device", "nvme,drive=disk1,serial=lab-worker-1-1")
	has("-device", "virtio-scsi-pci,id=scsi", "-device", "scsi-hd,bus=scsi.0,drive=disk2,serial=lab-worker-1-2")
	has("-drive", "if=none,format=raw,media=cdrom,readonly=on,id=cd1,file=/iso", "-device", "ide-cd,bus=ide.1,drive=cd1")
	has("-smbios", "type=1,manufacturer=Dactyl,product=QEMU,uuid=u-1,serial=lab-worker-1")
	has("-no-reboot")

	vm.KVM, vm.ISO = true, "/boot.iso"

	has("-accel", "kvm", "-cpu", "host")
	has("-boot", "order=d")

	if slices.Contains(vm.Args(), "-kernel") {
		t.Error("a kernel beside an ISO")
	}
}

var server = qemu.DHCP{
	Gateway: netip.MustParsePrefix("10.9.0.1/24"), Nameservers: []string{"10.9.0.53", "2001:db8::1"}, MTU: 1400, Lease: time.Hour,
	Hosts: []qemu.Host{{MAC: "02:00:00:00:00:09", Name: "node-9", Address: netip.MustParseAddr("10.9.0.9")}},
}

func TestAnswer(t *testing.T) {
	for name, c := range map[string]struct {
		mac     string
		options []dhcpv4.Modifier
		want    string
	}{
		"discover":           {"02:00:00:00:00:09", []dhcpv4.Modifier{dhcpv4.WithMessageType(dhcpv4.MessageTypeDiscover)}, "OFFER 10.9.0.9 node-9 [10.9.0.1] [10.9.0.53] 1h0m0s"},
		"request":            {"02:00:00:00:00:09", []dhcpv4.Modifier{dhcpv4.WithMessageType(dhcpv4.MessageTypeRequest), dhcpv4.WithOption(dhcpv4.OptRequestedIPAddress(net.IPv4(10, 9, 0, 9)))}, "ACK 10.9.0.9 node-9 [10.9.0.1] [10.9.0.53] 1h0m0s"},
		"renewal":            {"02:00:00:00:00:09", []dhcpv4.Modifier{dhcpv4.WithMessageType(dhcpv4.MessageTypeRequest), dhcpv4.WithClientIP(net.IPv4(10, 9, 0, 9))}, "ACK 10.9.0.9 node-9 [10.9.0.1] [10.9.0.53] 1h0m0s"},
		"of another network": {"02:00:00:00:00:09", []dhcpv4.Modifier{dhcpv4.WithMessageType(dhcpv4.MessageTypeRequest), dhcpv4.WithOption(dhcpv4.OptRequestedIPAddress(net.IPv4(10, 8, 0, 9)))}, "NAK 0.0.0.0  [] [] 0s"},
		"a stranger":         {"02:00:00:00:00:99", []dhcpv4.Modifier{dhcpv4.WithMessageType(dhcpv4.MessageTypeDiscover)}, "nothing"},
		"a release":          {"02:00:00:00:00:09", []dhcpv4.Modifier{dhcpv4.WithMessageType(dhcpv4.MessageTypeRelease)}, "nothing"},
	} {
		mac, _ := net.ParseMAC(c.mac)

		request, err := dhcpv4.New(append(c.options, dhcpv4.WithHwAddr(mac))...)
		if err != nil {
			t.Fatal(err)
		}

		answer, err := server.Answer(request)
		if err != nil {
			t.Fatal(err)
		}

		got := "nothing"
		if answer != nil {
			got = fmt.Sprintf("%s %s %s %v %v %s", answer.MessageType(), answer.YourIPAddr, answer.HostName(), answer.Router(), answer.DNS(), answer.IPAddressLeaseTime(0))
		}

		if got != c.want {
			t.Errorf("%s: got %s, want %s", name, got, c.want)
		}
	}
}

// TestBalance: connections go to those that are there, in turn, and half of one may end before the other.
func TestBalance(t *testing.T) {
	backend := func(name string) string {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}

		t.Cleanup(func() { l.Close() })

		go func() {
			for {
				conn, err := l.Accept()
				if err != nil {
					return
				}

				said, _ := io.ReadAll(conn)
				fmt.Fprintf(conn, "%s heard %s", name, said)
				conn.Close()
			}
		}()

		return l.Addr().String()
	}

	gone, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}

	gone.Close()

	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}

	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)

	go func() {
		ended <- qemu.Balance(ctx, listener, []string{backend("a"), gone.Addr().String(), backend("b")})
	}()

	heard := map[string]int{}

	for range 6 {
		conn, err := net.Dial("tcp", listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}

		fmt.Fprint(conn, "hello")

		if err := conn.(*net.TCPConn).CloseWrite(); err != nil {
			t.Fatal(err)
		}

		answer, err := io.ReadAll(conn)
		if err != nil {
			t.Fatal(err)
		}

		heard[string(answer)]++
		conn.Close()
	}

	if heard["a heard hello"] != 2 || heard["b heard hello"] != 4 {
		t.Errorf("heard %v", heard)
	}

	cancel()

	if err := <-ended; err != nil {
		t.Error(err)
	}
}

func TestMonitor(t *testing.T) {
	path := filepath.Join(t.TempDir(), "m")

	// One that a killed supervisor left.
	left, err := net.ListenUnix("unix", &net.UnixAddr{Name: path})
	if err != nil {
		t.Fatal(err)
	}

	left.SetUnlinkOnClose(false)
	left.Close()

	m, err := qemu.Listen(path)
	if err != nil {
		t.Fatal(err)
	}

	cmd := exec.CommandContext(t.Context(), "socat", "-", "unix-connect:"+path)
	cmd.Stdin = strings.NewReader("info status\nq\n")

	out, err := cmd.CombinedOutput()
	if err != nil || string(out) != "Error: the machine is off\n" {
		t.Errorf("socat: %v %q", err, out)
	}

	select {
	case <-m.Resets():
	case <-time.After(5 * time.Second):
		t.Error("no reset after q")
	}

	if err := m.Close(); err != nil {
		t.Error(err)
	}

	if _, err := os.Lstat(path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the socket stays: %v", err)
	}
}

func TestMedia(t *testing.T) {
	dir := t.TempDir()
	iso, disk := filepath.Join(dir, "iso"), filepath.Join(dir, "disk")

	if err := errors.Join(qemu.WriteISO(iso, "metal-iso", "config.yaml", []byte("version: v1alpha1\n")), qemu.MakeDisk(disk, 4096), qemu.MakeDisk(disk, 1), qemu.MakeDisk(disk, 4097)); err != nil {
		t.Fatal(err)
	}

	for want, args := range map[string][]string{
		"Volume id: metal-iso": {"isoinfo", "-d", "-i", iso}, "version: v1alpha1": {"isoinfo", "-i", iso, "-x", "/config.yaml;1"}, "0\t": {"du", "-k", disk}, "4296015872": {"stat", "-c", "%s", disk},
	} {
		out, err := exec.CommandContext(t.Context(), args[0], args[1:]...).CombinedOutput()
		if err != nil || !strings.Contains(strings.ToLower(string(out)), strings.ToLower(want)) {
			t.Errorf("%v: %v\n%s", args, err, out)
		}
	}
}

// TestEnds runs boot sectors of a few bytes: what ended the machine is told apart.
func TestEnds(t *testing.T) {
	kittest.RequireRoot(t)

	for name, c := range map[string]struct {
		code []byte
		want qemu.End
		kill bool
	}{
		"reset by the keyboard's controller": {code: []byte{0xb0, 0xfe, 0xe6, 0x64, 0xf4}, want: qemu.Reset},
		"ACPI soft off":                      {code: []byte{0xba, 0x04, 0x06, 0xb8, 0x00, 0x20, 0xef, 0xf4}, want: qemu.Shutdown},
		"halted, then killed":                {code: []byte{0xf4, 0xeb, 0xfd}, want: qemu.PowerCut, kill: true},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			disk := filepath.Join(dir, "disk")
			sector := append(append(bytes.Clone(c.code), make([]byte, 510-len(c.code))...), 0x55, 0xaa)

			if err := os.WriteFile(disk, append(sector, make([]byte, 1<<20)...), 0o600); err != nil {
				t.Fatal(err)
			}

			tap := &netlink.Tuntap{
				LinkAttrs: netlink.LinkAttrs{Name: "dvt" + fmt.Sprint(os.Getpid()%100000)}, Mode: netlink.TUNTAP_MODE_TAP, Flags: netlink.TUNTAP_NO_PI | netlink.TUNTAP_VNET_HDR | netlink.TUNTAP_ONE_QUEUE,
			}
			if err := netlink.LinkAdd(tap); err != nil {
				t.Fatal(err)
			}

			t.Cleanup(func() { _ = netlink.LinkDel(tap) })

			var said bytes.Buffer

			p, err := qemu.VM{
				Name: "t", UUID: "00000000-0000-4000-8000-000000000001", Arch: "amd64", MemoryMB: 64, Disks: []qemu.Disk{{Path: disk}}, MAC: "02:00:00:00:00:01", Tap: tap.Name, Console: filepath.Join(dir, "log"),
			}.Start(&said)
			if err != nil {
				t.Fatal(err)
			}

			t.Cleanup(p.Kill)

			if c.kill {
				if said, err := p.Command("info status"); err != nil || said != "VM status: running\n" {
					t.Errorf("info status: %q %v", said, err)
				}

				if _, err := p.Command("no such thing"); err != nil {
					t.Error(err)
				}

				p.Kill()
			}

			select {
			case <-p.Done():
			case <-time.After(60 * time.Second):
				t.Fatalf("it does not end: %s", said.String())
			}

			if p.End() != c.want {
				t.Errorf("ended by %s, want %s: %s", p.End(), c.want, said.String())
			}
		})
	}
}
