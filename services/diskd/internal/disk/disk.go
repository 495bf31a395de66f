// Package disk is what is seen of disks: their properties, what they hold, their partitions. It is pure.
package disk

import (
	"fmt"
	"strconv"
	"strings"
)

// What a disk holds as a whole, besides the names of filesystems.
const (
	Blank      = ""           // nothing but zeros at both ends
	GPT        = "gpt"        // a partition table
	Installing = "installing" // a partition table of ours that was being made when the power went
	Unknown    = "unknown"    // something that is not known, and therefore not touched
)

// Disk is a whole disk.
type Disk struct {
	Name, Path                             string // vda, /dev/vda
	Model, Serial, Modalias, WWID, UUID    string
	BusPath, SubSystem, Transport, Content string
	Parts                                  []Part
	FS                                     Filesystem
	Size, Sector, IOSize                   uint64
	Free                                   uint64 // the largest range that a partition may be made in
	Major, Minor                           int
	ReadOnly, CDROM, Rotational            bool
	Mount                                  string // where the whole disk is mounted
	SysPath                                string // /devices/…/block/vda
}

// Part is a partition.
type Part struct {
	Name, Path            string // vda1, /dev/vda1
	Label, TypeGUID, UUID string
	FS                    Filesystem
	Mount                 string // where it is mounted
	Offset, Size          uint64
	Growth                uint64 // how much it could grow
	Index                 int    // from 1
	Major, Minor          int
	Wipe                  bool // marked to be wiped before it is used again
}

// Filesystem is what probing tells; the zero Filesystem is none that is known.
type Filesystem struct {
	Type, Label, UUID    string
	Size                 uint64
	BlockSize, FSBlockSz uint32
}

// PartPath is the path of a disk's partition: /dev/vda1, /dev/nvme0n1p1.
func PartPath(path string, index int) string {
	if path != "" && strings.ContainsRune("0123456789", rune(path[len(path)-1])) {
		path += "p"
	}

	return path + strconv.Itoa(index)
}

// Part finds a partition by its label.
func (d Disk) Part(label string) (Part, bool) {
	for _, p := range d.Parts {
		if p.Label == label {
			return p, true
		}
	}

	return Part{}, false
}

// Labels are the partitions' labels, a dash for none.
func (d Disk) Labels() string {
	var labels []string

	for _, p := range d.Parts {
		if p.Label == "" {
			p.Label = "-"
		}

		labels = append(labels, p.Label)
	}

	return strings.Join(labels, ", ")
}

// Holds says in words what is on the disk.
func (d Disk) Holds() string {
	switch {
	case d.Content == Blank:
		return "nothing"
	case d.Content == GPT && len(d.Parts) == 0:
		return "an empty partition table"
	case d.Content == GPT:
		return "partitions (" + d.Labels() + ")"
	case d.Content == Unknown:
		return "data of an unknown kind"
	default:
		return d.Content
	}
}

// PrettySize is a size as clients of v1.8 print it: 6.4 GB.
func PrettySize(size uint64) string {
	units := []string{"B", "kB", "MB", "GB", "TB", "PB", "EB"}
	value, unit := float64(size), 0

	for value >= 1000 && unit < len(units)-1 {
		value /= 1000
		unit++
	}

	if unit == 0 || value >= 10 {
		return fmt.Sprintf("%.0f %s", value, units[unit])
	}

	return fmt.Sprintf("%.1f %s", value, units[unit])
}

// Binary is a size in the units that partitions are made in: 100 MiB.
func Binary(size uint64) string {
	switch {
	case size >= 1<<30 && size%(1<<28) == 0:
		return strconv.FormatFloat(float64(size)/(1<<30), 'f', -1, 64) + " GiB"
	case size >= 1<<20:
		return strconv.FormatUint(size>>20, 10) + " MiB"
	default:
		return strconv.FormatUint(size, 10) + " bytes"
	}
}
