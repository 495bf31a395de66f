package command

import (
	"runtime"
	"strings"

	"github.com/spf13/pflag"

	"github.com/dactyl-os/dactyl/tools/internal/cluster"
	"github.com/dactyl-os/dactyl/tools/internal/cluster/qemu"
)

// onlyVMs begins the usage of flags that only virtual machines know.
const onlyVMs = "qemu: "

// vmFlags are what virtual machines are made of.
func vmFlags(flags *pflag.FlagSet, vms *cluster.VMs) {
	flags.StringVar(&vms.Arch, "arch", runtime.GOARCH, onlyVMs+"architecture of the nodes")
	flags.StringVar(&vms.CPUs, "cpus", "2.0", onlyVMs+"CPUs of a control plane, rounded")
	flags.StringVar(&vms.CPUsWorkers, "cpus-workers", "2.0", onlyVMs+"CPUs of a worker, rounded")
	flags.IntVar(&vms.Memory, "memory", 2048, onlyVMs+"memory of a control plane in MiB")
	flags.IntVar(&vms.MemoryWorkers, "memory-workers", 2048, onlyVMs+"memory of a worker in MiB")
	flags.IntVar(&vms.Disk, "disk", 6144, onlyVMs+"size of the system disk in MiB, a sparse file")
	flags.IntVar(&vms.ExtraDisks, "extra-disks", 0, onlyVMs+"further disks of each node")
	flags.IntVar(&vms.ExtraDiskSize, "extra-disks-size", 5120, onlyVMs+"size of a further disk in MiB")
	flags.StringSliceVar(&vms.ExtraDrivers, "extra-disks-drivers", nil, onlyVMs+"what further disks hang on, in turn: "+strings.Join(qemu.Drivers(), ", "))
	flags.StringVar(&vms.Kernel, "vmlinuz-path", "_out/vmlinuz-${ARCH}", onlyVMs+"kernel")
	flags.StringVar(&vms.Initrd, "initrd-path", "_out/initramfs-${ARCH}.xz", onlyVMs+"initramfs")
	flags.StringVar(&vms.ISO, "iso-path", "", onlyVMs+"boot from this ISO instead")
	flags.StringVar(&vms.Injection, "config-injection-method", "", onlyVMs+"metal-iso gives configurations on a volume instead of through maintenance mode")
	flags.BoolVar(&vms.BadRTC, "bad-rtc", false, onlyVMs+"set the hardware clock years back")
	flags.BoolVar(&vms.NoNames, "disable-dhcp-hostname", false, onlyVMs+"the DHCP server does not name nodes")
	flags.Bool("with-bootloader", false, onlyVMs+"boot from disk once installed")
}
