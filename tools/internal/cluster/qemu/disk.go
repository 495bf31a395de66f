package qemu

import (
	"fmt"
	"slices"
	"strconv"
)

// Virtio is the driver of disks that are /dev/vda, /dev/vdb…
const Virtio = "virtio"

// Disk is a raw image and what it hangs on.
type Disk struct {
	Path string
	// Driver is one of Drivers; "" is Virtio.
	Driver string
}

// Drivers are what disks can hang on.
func Drivers() []string { return []string{"ahci", "ide", "nvme", "scsi", Virtio} }

// disks are QEMU's options for them; each has the machine's name and its index for a serial number.
func (v VM) disks() []string {
	var args []string

	for i, disk := range v.Disks {
		id, serial := fmt.Sprintf("disk%d", i), ",serial="+diskSerial(v.Name)+"-"+strconv.Itoa(i)

		args = append(args, "-drive", "if=none,format=raw,cache=writeback,discard=unmap,id="+id+",file="+comma(disk.Path))
		device := "virtio-blk-pci,drive=" + id + serial

		switch disk.Driver {
		case "ahci", "ide": // q35 has no older IDE
			args = append(args, "-device", "ahci,id=bus-"+id)
			device = "ide-hd,bus=bus-" + id + ".0,drive=" + id + serial
		case "nvme":
			device = "nvme,drive=" + id + serial
		case "scsi":
			if !slices.Contains(args, "virtio-scsi-pci,id=scsi") {
				args = append(args, "-device", "virtio-scsi-pci,id=scsi")
			}

			device = "scsi-hd,bus=scsi.0,drive=" + id + serial
		}

		args = append(args, "-device", device)
	}

	return args
}

// diskSerial keeps within the 20 characters of virtio-blk, two of which number the disk.
func diskSerial(name string) string { return name[max(0, len(name)-17):] }
