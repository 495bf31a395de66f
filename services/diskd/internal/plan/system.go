package plan

import (
	"fmt"
	"path"
	"strings"

	"github.com/dactyl-os/dactyl/proto/bytesize"
	"github.com/dactyl-os/dactyl/proto/config"
	"github.com/dactyl-os/dactyl/services/diskd/internal/disk"
	"github.com/dactyl-os/dactyl/services/diskd/internal/volume"
)

// systemDisk finds the disk that the system is on, else the one to put it on when there is a configuration. A nil disk
// comes with the reason.
func systemDisk(in Input) (*disk.Disk, error) {
	var found []*disk.Disk

	for i := range in.Disks {
		if Installed(in.Disks[i]) {
			found = append(found, &in.Disks[i])
		}
	}

	switch {
	case len(found) == 1:
		return found[0], nil
	case len(found) > 1:
		return nil, fmt.Errorf("%s and %s both have a %s and a %s partition: wipe the one that is not the system disk",
			found[0].Path, found[1].Path, volume.Meta, volume.State)
	case in.Config == nil:
		return nil, nil
	}

	return choose(in.Disks, in.Config.Install)
}

// Installed tells whether the system is on a disk.
func Installed(d disk.Disk) bool {
	_, meta := d.Part(volume.Meta)
	_, state := d.Part(volume.State)

	return d.Content == disk.GPT && meta && state
}

// choose takes the disk that machine.install names, or the only one.
func choose(disks []disk.Disk, install volume.Install) (*disk.Disk, error) {
	var candidates []*disk.Disk

	for i, d := range disks {
		switch {
		case install.Disk != "":
			if d.Path == install.Disk {
				return &disks[i], nil
			}
		case !usable(d):
		case install.Selector == nil || matches(d, *install.Selector):
			candidates = append(candidates, &disks[i])
		}
	}

	switch {
	case install.Disk != "":
		return nil, fmt.Errorf("machine.install.disk: there is no %s", install.Disk)
	case len(candidates) == 0 && install.Selector != nil:
		return nil, fmt.Errorf("machine.install.diskSelector: no disk matches")
	case len(candidates) == 0:
		return nil, fmt.Errorf("there is no disk to install to")
	case install.Selector == nil && len(candidates) > 1:
		return nil, fmt.Errorf("there are %d disks: machine.install.disk has to name one", len(candidates))
	}

	return candidates[0], nil
}

func usable(d disk.Disk) bool {
	return !d.ReadOnly && !d.CDROM && d.Size > 0 && d.Mount == ""
}

// matches compares a disk with machine.install.diskSelector; strings may be globs.
func matches(d disk.Disk, s config.InstallDiskSelector) bool {
	for _, pair := range [][2]string{
		{s.Name, d.Name}, {s.Model, d.Model}, {s.Serial, d.Serial}, {s.Modalias, d.Modalias},
		{s.UUID, d.UUID}, {s.WWID, d.WWID}, {s.BusPath, d.BusPath}, {s.Type, Type(d)},
	} {
		if ok, err := path.Match(pair[0], pair[1]); pair[0] != "" && pair[0] != pair[1] && (err != nil || !ok) {
			return false
		}
	}

	return s.Size == "" || sizeMatches(d.Size, s.Size)
}

// Type is the disk's kind in the words of the machine configuration.
func Type(d disk.Disk) string {
	switch {
	case d.CDROM:
		return "cd"
	case d.Transport == "nvme":
		return "nvme"
	case d.Transport == "mmc":
		return "sd"
	case d.Rotational:
		return "hdd"
	default:
		return "ssd"
	}
}

// sizeMatches reads ">= 100GB", "< 1TiB", "4GB".
func sizeMatches(size uint64, text string) bool {
	text = strings.TrimSpace(text)
	number := strings.TrimSpace(strings.TrimLeft(text, "<>="))
	op := strings.TrimSpace(text[:len(text)-len(strings.TrimLeft(text, "<>="))])

	want, err := bytesize.Parse(number)
	if err != nil {
		return false
	}

	switch op {
	case "", "=", "==":
		return size == want
	case "<":
		return size < want
	case "<=":
		return size <= want
	case ">":
		return size > want
	case ">=":
		return size >= want
	default:
		return false
	}
}
