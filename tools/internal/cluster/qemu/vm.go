// Package qemu plays the hardware of virtual machines: their QEMU processes, disks, DHCP server and load balancer. It knows
// nothing of clusters.
package qemu

import (
	"fmt"
	"strconv"
)

// VM is one virtual machine as QEMU is told of it.
type VM struct {
	Name, UUID, Serial string
	// Arch is amd64 or arm64.
	Arch string
	// KVM says that the processor runs the guest itself.
	KVM      bool
	CPUs     int
	MemoryMB int
	// Kernel, Initrd and Cmdline boot directly; with ISO the firmware boots from that, with neither from the first disk.
	Kernel, Initrd, Cmdline, ISO string
	// Disks are raw images.
	Disks []Disk
	// ConfigISO is a volume in a second drive.
	ConfigISO string
	MAC, Tap  string
	// Console is the file that the serial line is appended to.
	Console string
	// CrashStore is a file that keeps what a kernel saves while it crashes (ACPI ERST); only amd64 has it.
	CrashStore string
	// BadRTC sets the clock of the hardware years back.
	BadRTC bool
}

// Program is the emulator for an architecture.
func Program(arch string) (string, error) {
	switch arch {
	case "amd64":
		return "qemu-system-x86_64", nil
	case "arm64":
		return "qemu-system-aarch64", nil
	default:
		return "", fmt.Errorf("architecture %q: there are amd64 and arm64", arch)
	}
}

// Args is QEMU's command line. The control protocol is on standard input and output; a reset ends QEMU, so that the
// next boot takes the kernel and initramfs that are there then.
func (v VM) Args() []string {
	args := []string{
		"-name", v.Name, "-uuid", v.UUID, "-nodefaults", "-no-user-config", "-display", "none", "-no-reboot", "-qmp", "stdio",
		"-smp", strconv.Itoa(max(v.CPUs, 1)), "-m", strconv.Itoa(v.MemoryMB),
		"-smbios", "type=1,manufacturer=Dactyl,product=QEMU,uuid=" + v.UUID + ",serial=" + v.Serial,
		"-chardev", "file,id=console,append=on,path=" + comma(v.Console), "-serial", "chardev:console",
		"-netdev", "tap,id=net0,script=no,downscript=no,ifname=" + v.Tap,
		"-device", "virtio-net-pci,romfile=,netdev=net0,mac=" + v.MAC,
		"-device", "virtio-rng-pci",
	}

	args = append(args, v.board()...)

	args = append(args, v.disks()...)

	for i, path := range []string{v.ISO, v.ConfigISO} {
		if path == "" {
			continue
		}

		id := fmt.Sprintf("cd%d", i)
		args = append(args, "-drive", "if=none,format=raw,media=cdrom,readonly=on,id="+id+",file="+comma(path))
		args = append(args, v.drive(i)...)
	}

	switch {
	case v.ISO != "":
		args = append(args, "-boot", "order=d")
	case v.Kernel != "":
		args = append(args, "-kernel", v.Kernel, "-initrd", v.Initrd, "-append", v.Cmdline)
	}

	if v.CrashStore != "" && v.Arch == "amd64" {
		args = append(args, "-object", "memory-backend-file,id=erst,share=on,size=64K,mem-path="+comma(v.CrashStore), "-device", "acpi-erst,memdev=erst")
	}

	if v.BadRTC {
		args = append(args, "-rtc", "base=2011-11-11T11:11:00")
	}

	return args
}

func (v VM) board() []string {
	board := []string{"-machine", "q35,smm=off"}
	if v.Arch == "arm64" {
		board = []string{"-machine", "virt"}
	}

	if v.KVM {
		return append(board, "-accel", "kvm", "-cpu", "host")
	}

	cpu := "max"
	if v.Arch == "amd64" {
		// Without fast byte strings the kernel copies and clears eight bytes at a time, and the emulator takes a round for each.
		cpu += ",-erms,-fsrm"
	} else {
		// Debian's kernel signs every return address; the emulator's own cipher for it is a hundred times quicker than QARMA.
		cpu += ",pauth-impdef=on"
	}

	return append(board, "-accel", "tcg,thread=multi", "-cpu", cpu)
}

// drive is a CD drive: q35 has AHCI, virt needs a controller for each.
func (v VM) drive(index int) []string {
	id := fmt.Sprintf("cd%d", index)

	if v.Arch == "arm64" {
		return []string{"-device", "virtio-scsi-pci,id=bus-" + id, "-device", "scsi-cd,bus=bus-" + id + ".0,drive=" + id}
	}

	return []string{"-device", fmt.Sprintf("ide-cd,bus=ide.%d,drive=%s", index, id)}
}

// comma doubles commas, which separate QEMU's options.
func comma(path string) string {
	var out []byte

	for _, b := range []byte(path) {
		if b == ',' {
			out = append(out, ',')
		}

		out = append(out, b)
	}

	return string(out)
}
