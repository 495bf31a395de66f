package cluster

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/vishvananda/netlink"

	"github.com/dactyl-os/dactyl/tools/internal/cluster/qemu"
)

// MetalISO as VMs.Injection puts the configuration on a volume that the machine finds.
const MetalISO = "metal-iso"

// emulated is how much longer everything takes without KVM.
const emulated = 3

// VMs says what the virtual machines of a cluster are like.
type VMs struct {
	Arch string `yaml:"arch"`
	// KVM is found out by trying.
	KVM bool `yaml:"kvm"`
	// CPUs of control planes and workers; memory and disks in MiB.
	CPUs          string `yaml:"cpus"`
	CPUsWorkers   string `yaml:"cpusWorkers"`
	Memory        int    `yaml:"memory"`
	MemoryWorkers int    `yaml:"memoryWorkers"`
	Disk          int    `yaml:"disk"`
	ExtraDisks    int    `yaml:"extraDisks,omitempty"`
	ExtraDiskSize int    `yaml:"extraDiskSize,omitempty"`
	// ExtraDrivers are what further disks hang on, in turn; the last counts for the rest. See qemu.Drivers.
	ExtraDrivers []string `yaml:"extraDrivers,omitempty"`
	Kernel       string   `yaml:"kernel,omitempty"`
	Initrd       string   `yaml:"initrd,omitempty"`
	ISO          string   `yaml:"iso,omitempty"`
	// Injection is "" (through the API of maintenance mode) or MetalISO.
	Injection string `yaml:"injection,omitempty"`
	BadRTC    bool   `yaml:"badRTC,omitempty"`
	// NoNames keeps the DHCP server from naming machines.
	NoNames bool `yaml:"noNames,omitempty"`
	// Ports of the gateway's address that are passed on to control planes.
	Ports []int `yaml:"ports,omitempty"`
	// Given are the flags that were given: only those change a cluster that exists.
	Given map[string]bool `yaml:"-"`
}

// found makes a path absolute; one below _out is also looked for beside the program.
func found(flag string, path *string, dir string) error {
	for _, candidate := range []string{*path, filepath.Join(dir, filepath.Base(*path))} {
		if _, err := os.Stat(candidate); err == nil {
			absolute, err := filepath.Abs(candidate)
			*path = absolute

			return err
		}
	}

	hint := ""
	if filepath.Dir(*path) == "_out" {
		hint = "; `make kernel initramfs` builds it"
	}

	return fmt.Errorf("%s %s: %w%s", flag, *path, fs.ErrNotExist, hint)
}

func (v *VMs) patience() int {
	if v.KVM {
		return 1
	}

	return emulated
}

func (c *Cluster) beginVMs(spec *Spec) {
	vms := spec.VMs
	// Behind the Kubernetes API: trustd, which signs what workers need, and gossip, by which nodes find each other at first.
	vms.Ports = []int{spec.ControlPlanePort, 50001, 50002}
	c.VMs, c.Binaries, c.Manifests = &vms, "", ""

	// The load balancer's.
	if spec.Endpoint == "" {
		c.Endpoint = netip.MustParsePrefix(c.Gateway).Addr().String()
	}

	spec.ApplyConfig = !spec.NoConfig && vms.Injection == ""
}

// patience finds out whether KVM works and tells by how much time-outs are stretched.
func (c *Cluster) patience(ctx context.Context, p *progress) int {
	if c.VMs == nil {
		return 1
	}

	err := qemu.TryKVM(ctx)
	if c.VMs.KVM = err == nil && c.VMs.Arch == "amd64"; !c.VMs.KVM {
		p.say("warning: no KVM (%v): nodes run under emulation, about ten times slower; time-outs are %d times longer", err, emulated)
		p.say("note: their kernels get %q, since guarding an emulated processor only costs time; --extra-boot-kernel-args comes after it", unguarded(c.VMs.Arch))
	}

	return c.VMs.patience()
}

// MonitorPath is the socket where q resets the machine.
func (m *Machine) MonitorPath() string { return filepath.Join(m.cluster.dir, m.Name+".monitor") }

// DiskPath is the image of a virtual machine's disk; 0 is the system's.
func (m *Machine) DiskPath(index int) string {
	return filepath.Join(m.cluster.dir, fmt.Sprintf("%s-%d.disk", m.Name, index))
}

// powerOnVM boots the virtual machine until it powers off.
func (m *Machine) powerOnVM(r *record, power <-chan os.Signal) error {
	monitor, err := qemu.Listen(m.MonitorPath())
	if err != nil {
		return err
	}
	defer monitor.Close() // gone with the process

	if err := m.addTap(); err != nil {
		return err
	}

	for quick := 0; ; {
		started := time.Now()

		end, pressed, err := m.bootVM(r, monitor, power)
		if err != nil {
			return err
		}

		if end == qemu.Shutdown || pressed && end != qemu.Reset {
			return nil
		}

		if quick++; time.Since(started) > quickBoot {
			quick = 0
		}

		if quick >= maxQuickBoots {
			return fmt.Errorf("the machine ended %d times within %s, the last time by %s: see %s", quick, quickBoot, end, m.ConsolePath())
		}
	}
}

// vm makes the disks that are missing and describes the machine.
func (m *Machine) vm() (qemu.VM, error) {
	v := m.cluster.VMs
	cpus, memory := v.CPUs, v.Memory

	if m.Type == "worker" {
		cpus, memory = v.CPUsWorkers, v.MemoryWorkers
	}

	count, err := strconv.ParseFloat(cpus, 64)
	if err != nil {
		return qemu.VM{}, fmt.Errorf("read number of CPUs: %w", err)
	}

	vm := qemu.VM{
		Name: m.Name, UUID: m.UUID, Serial: m.Name, Arch: v.Arch, KVM: v.KVM, CPUs: max(int(count+0.5), 1), MemoryMB: memory, Kernel: v.Kernel, Initrd: v.Initrd,
		ISO: v.ISO, MAC: m.MAC, Tap: m.Link, Console: m.ConsolePath(), BadRTC: v.BadRTC, Cmdline: m.vmCommandLine(),
		CrashStore: filepath.Join(m.cluster.dir, m.Name+".crash"),
	}

	for i := range v.ExtraDisks + 1 {
		size := v.ExtraDiskSize
		if i == 0 {
			size = v.Disk
		}

		vm.Disks = append(vm.Disks, qemu.Disk{Path: m.DiskPath(i), Driver: v.driver(i)})
		err = errors.Join(err, qemu.MakeDisk(m.DiskPath(i), size))
	}

	if v.Injection == MetalISO {
		vm.ConfigISO = filepath.Join(m.cluster.dir, m.Name+"-config.iso")

		data, readErr := os.ReadFile(m.ConfigPath())
		err = errors.Join(err, readErr, qemu.WriteISO(vm.ConfigISO, MetalISO, "config.yaml", data))
	}

	return vm, err
}

func (m *Machine) vmCommandLine() string {
	console := "ttyS0"
	if m.cluster.VMs.Arch == "arm64" {
		console = "ttyAMA0"
	}

	line := "init_on_alloc=1 slab_nomerge pti=on consoleblank=0 printk.devkmsg=on console=" + console + " reboot=k panic=1 talos.platform=metal"
	if !m.cluster.VMs.KVM {
		line += " " + unguarded(m.cluster.VMs.Arch)
	}

	if m.cluster.VMs.Injection == MetalISO {
		line += " talos.config=" + MetalISO
	}

	if m.cluster.KernelArgs != "" {
		line += " " + m.cluster.KernelArgs
	}

	return line
}

// unguarded is what the kernel is told on an emulated processor. Guards against speculation have nothing to guard there: the
// emulator does not speculate, but it drops its translations of addresses each time page-table isolation changes tables, at
// every system call. The time-stamp counter is the host's, the same on every processor; the kernel takes it for unstable
// because the host lets processors wait, and then each look at the clock leaves the program and the emulated code.
func unguarded(arch string) string {
	if arch == "arm64" {
		return "mitigations=off"
	}

	return "pti=off mitigations=off tsc=reliable"
}

// bootVM runs the machine once.
func (m *Machine) bootVM(r *record, monitor *qemu.Monitor, power <-chan os.Signal) (end qemu.End, pressed bool, err error) {
	console, err := m.openConsole()
	if err != nil {
		return "", false, err
	}
	defer console.Close()

	// What was changed since the boot before.
	if m.cluster, err = Load(filepath.Dir(m.cluster.dir), m.cluster.Name); err != nil {
		return "", false, err
	}

	vm, err := m.vm()
	if err != nil {
		return "", false, err
	}

	if r.BootID, err = newBootID(); err != nil {
		return "", false, fmt.Errorf("make boot id: %w", err)
	}

	r.Boots++
	fmt.Fprintf(console, "supervisor: boot %d\n", r.Boots)

	p, err := vm.Start(console)
	if err != nil {
		return "", false, err
	}

	if r.Init, err = identify(p.PID()); err == nil {
		err = m.keep(*r)
	}

	// What ends within a moment leaves no process to identify; its end says more.
	if err != nil && !errors.Is(err, os.ErrProcessDone) && !errors.Is(err, fs.ErrNotExist) {
		p.Kill()
		<-p.Done()

		return "", false, err
	}

	monitor.Attach(p)

	pressed = awaitVM(p, monitor, power)

	monitor.Attach(nil)

	end = p.End()
	fmt.Fprintf(console, "supervisor: the machine ended: %s\n", end)
	m.forgetNeighbour()

	return end, pressed, nil
}

func awaitVM(p *qemu.Process, monitor *qemu.Monitor, power <-chan os.Signal) (pressed bool) {
	var force <-chan time.Time

	for {
		select {
		case <-p.Done():
			return pressed
		case <-monitor.Resets():
			p.Kill()
		case <-power:
			pressed, force = true, time.After(powerOffLimit)

			if p.PressPower() != nil {
				p.Kill()
			}
		case <-force:
			p.Kill()
		}
	}
}

// addTap lays the cable between the bridge and the machine's card.
func (m *Machine) addTap() error {
	if err := removeLink(m.Link); err != nil {
		return err
	}

	bridge, err := netlink.LinkByName(m.cluster.Bridge)
	if err != nil {
		return fmt.Errorf("find bridge %s: %w", m.cluster.Bridge, err)
	}

	tap := &netlink.Tuntap{
		LinkAttrs: netlink.LinkAttrs{Name: m.Link, MTU: m.cluster.MTU}, Mode: netlink.TUNTAP_MODE_TAP,
		Flags: netlink.TUNTAP_NO_PI | netlink.TUNTAP_VNET_HDR | netlink.TUNTAP_ONE_QUEUE,
	}
	if err := netlink.LinkAdd(tap); err != nil {
		return fmt.Errorf("add tap %s: %w", m.Link, err)
	}

	for what, do := range map[string]func() error{
		"set MTU of": func() error { return netlink.LinkSetMTU(tap, m.cluster.MTU) },
		"bridge":     func() error { return netlink.LinkSetMaster(tap, bridge) },
		"set up":     func() error { return netlink.LinkSetUp(tap) },
	} {
		if err := do(); err != nil {
			return fmt.Errorf("%s %s: %w", what, m.Link, err)
		}
	}

	return nil
}
