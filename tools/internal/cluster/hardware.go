package cluster

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/dactyl-os/dactyl/tools/internal/cluster/qemu"
)

// Bounds of virtual machines.
const (
	minMemory    = 256
	minDisk      = 1024
	maxExtra     = 16
	maxProcessor = 64
)

// complete refuses what cannot be; dir is where the running program is.
func (v *VMs) complete(dir string) error {
	if _, err := qemu.Program(v.Arch); err != nil {
		return fmt.Errorf("--arch: %w", err)
	}

	if v.Injection != "" && v.Injection != MetalISO {
		return fmt.Errorf("--config-injection-method %q: there is %s; without it the configuration comes through maintenance mode", v.Injection, MetalISO)
	}

	for _, size := range []struct {
		flag, unit      string
		have, low, high int
	}{
		{"memory", " MiB", v.Memory, minMemory, 1 << 20},
		{"memory-workers", " MiB", v.MemoryWorkers, minMemory, 1 << 20},
		{"disk", " MiB", v.Disk, minDisk, 1 << 24},
		{"extra-disks", "", v.ExtraDisks, 0, maxExtra},
		{"extra-disks-size", " MiB", v.ExtraDiskSize, 0, 1 << 24},
	} {
		if size.have < size.low || size.have > size.high {
			return fmt.Errorf("--%s %d: give between %d and %d%s", size.flag, size.have, size.low, size.high, size.unit)
		}
	}

	for _, cpus := range [][2]string{{"cpus", v.CPUs}, {"cpus-workers", v.CPUsWorkers}} {
		if n, err := strconv.ParseFloat(cpus[1], 64); err != nil || n <= 0 || n > maxProcessor {
			return fmt.Errorf("--%s %q: give a number up to %d", cpus[0], cpus[1], maxProcessor)
		}
	}

	for _, driver := range v.ExtraDrivers {
		if !slices.Contains(qemu.Drivers(), driver) {
			return fmt.Errorf("--extra-disks-drivers %q: there are %s", driver, strings.Join(qemu.Drivers(), ", "))
		}
	}

	for _, path := range []*string{&v.Kernel, &v.Initrd} {
		*path = strings.ReplaceAll(*path, "${ARCH}", v.Arch)
	}

	if v.ISO != "" {
		return found("--iso-path", &v.ISO, dir)
	}

	return errors.Join(found("--vmlinuz-path", &v.Kernel, dir), found("--initrd-path", &v.Initrd, dir))
}

// driver of a disk by its index; 0 is the system's.
func (v *VMs) driver(index int) string {
	if index == 0 || len(v.ExtraDrivers) == 0 {
		return qemu.Virtio
	}

	return v.ExtraDrivers[min(index, len(v.ExtraDrivers))-1]
}

// change gives an existing cluster the hardware that flags ask for, from the next boot of each node on.
func (c *Cluster) change(spec *Spec, p *progress) error {
	want, have := &spec.VMs, *c.VMs

	if err := c.cannotBecome(want); err != nil {
		return err
	}

	changed := []string{}

	take := func(flag string, differs bool, set func()) {
		if want.Given[flag] && differs {
			set()

			changed = append(changed, "--"+flag)
		}
	}

	for flag, to := range map[string][2]*int{
		"memory": {&have.Memory, &want.Memory}, "memory-workers": {&have.MemoryWorkers, &want.MemoryWorkers}, "disk": {&have.Disk, &want.Disk},
		"extra-disks": {&have.ExtraDisks, &want.ExtraDisks}, "extra-disks-size": {&have.ExtraDiskSize, &want.ExtraDiskSize},
	} {
		take(flag, *to[0] != *to[1], func() { *to[0] = *to[1] })
	}

	for flag, to := range map[string][2]*string{
		"cpus": {&have.CPUs, &want.CPUs}, "cpus-workers": {&have.CPUsWorkers, &want.CPUsWorkers}, "vmlinuz-path": {&have.Kernel, &want.Kernel},
		"initrd-path": {&have.Initrd, &want.Initrd}, "iso-path": {&have.ISO, &want.ISO}, "extra-boot-kernel-args": {&c.KernelArgs, &spec.KernelArgs},
	} {
		take(flag, *to[0] != *to[1], func() { *to[0] = *to[1] })
	}

	take("extra-disks-drivers", !slices.Equal(want.ExtraDrivers, have.ExtraDrivers), func() { have.ExtraDrivers = want.ExtraDrivers })
	take("bad-rtc", want.BadRTC != have.BadRTC, func() { have.BadRTC = want.BadRTC })

	if len(changed) == 0 {
		return nil
	}

	slices.Sort(changed)
	p.say("changed: %s; running nodes take it when they next boot", strings.Join(changed, ", "))

	c.VMs = &have

	return c.save()
}

// cannotBecome refuses what an existing cluster cannot be changed to.
func (c *Cluster) cannotBecome(want *VMs) error {
	have := c.VMs

	for _, size := range []struct {
		flag, unit string
		want, have int
	}{
		{"disk", "disks of %d MiB", want.Disk, have.Disk},
		{"extra-disks", "%d further disks", want.ExtraDisks, have.ExtraDisks},
		{"extra-disks-size", "further disks of %d MiB", want.ExtraDiskSize, have.ExtraDiskSize},
	} {
		if want.Given[size.flag] && size.want < size.have {
			return fmt.Errorf("--%s %d: cluster %q has "+size.unit+", which only grow: remove it first with `dactylctl cluster destroy%s`, or choose another --name",
				size.flag, size.want, c.Name, size.have, c.nameFlag())
		}
	}

	if want.Given["arch"] && want.Arch != have.Arch {
		return fmt.Errorf("--arch %s: cluster %q is made of %s: remove it first with `dactylctl cluster destroy%s`, or choose another --name", want.Arch, c.Name, have.Arch, c.nameFlag())
	}

	return nil
}
