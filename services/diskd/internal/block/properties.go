package block

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/dactyl-os/dactyl/services/diskd/internal/disk"
)

// properties reads a disk's properties from sysfs.
func (s *System) properties(name string) disk.Disk {
	dir := filepath.Join(s.Sys, "block", name)
	first := func(paths ...string) string {
		for _, p := range paths {
			if text := read(filepath.Join(dir, p)); text != "" {
				return text
			}
		}

		return ""
	}
	number := func(p string) uint64 {
		n, _ := strconv.ParseUint(first(p), 10, 64) // 0 when it is not there

		return n
	}

	d := disk.Disk{
		Name: name, Path: filepath.Join(s.Dev, name),
		Size: number("size") * 512, Sector: max(number("queue/logical_block_size"), 512),
		IOSize:   max(number("queue/optimal_io_size"), number("queue/minimum_io_size"), 512),
		ReadOnly: first("ro") == "1", Rotational: first("queue/rotational") == "1",
		CDROM: strings.HasPrefix(name, "sr") || first("device/type") == "5",
		Model: first("device/model"), Modalias: first("device/modalias"),
		Serial: first("serial", "device/serial"), WWID: first("wwid", "device/wwid"), UUID: first("uuid", "device/uuid"),
		Transport: s.transport(name),
	}

	if target, err := filepath.EvalSymlinks(dir); err == nil {
		d.SysPath = strings.TrimPrefix(target, s.Sys)
		d.BusPath = filepath.Dir(filepath.Dir(strings.TrimPrefix(target, filepath.Join(s.Sys, "devices"))))
	}

	if target, err := filepath.EvalSymlinks(filepath.Join(dir, "subsystem")); err == nil {
		d.SubSystem = "/sys" + strings.TrimPrefix(target, s.Sys)
	}

	d.Major, d.Minor = s.devno(name)

	return d
}

// transport is how the disk is attached, from its name and the path of its device.
func (s *System) transport(name string) string {
	for prefix, transport := range map[string]string{"nvme": "nvme", "vd": "virtio", "xvd": "xenblk", "mmcblk": "mmc"} {
		if strings.HasPrefix(name, prefix) {
			return transport
		}
	}

	target, err := filepath.EvalSymlinks(filepath.Join(s.Sys, "block", name, "device"))
	if err != nil {
		return ""
	}

	elements := strings.Split(target, "/")
	has := func(prefix string) bool {
		return slices.ContainsFunc(elements, func(e string) bool { return strings.HasPrefix(e, prefix) })
	}

	switch {
	case has("usb"):
		return "usb"
	case has("session"):
		return "iscsi"
	case has("ata"):
		return "sata"
	case has("virtio"):
		return "virtio"
	case has("end_device-"):
		return "sas"
	case has("host"):
		return "scsi"
	default:
		return ""
	}
}

func (s *System) devno(name string) (int, int) {
	var major, minor int
	if _, err := fmt.Sscanf(read(filepath.Join(s.Sys, "class", "block", name, "dev")), "%d:%d", &major, &minor); err != nil {
		return 0, 0
	}

	return major, minor
}

func devno(major, minor int) string { return fmt.Sprintf("%d:%d", major, minor) }

func read(path string) string {
	data, err := os.ReadFile(path)
	if err != nil {
		return ""
	}

	return strings.TrimSpace(string(data))
}

func exists(path string) bool {
	_, err := os.Lstat(path)

	return err == nil
}
