package plan

import (
	"fmt"
	"slices"

	"github.com/dactyl-os/dactyl/services/diskd/internal/disk"
	"github.com/dactyl-os/dactyl/services/diskd/internal/volume"
)

// reserve is what a partition table and the alignment of partitions take of a disk at most.
const reserve = 3 << 20

// provision makes the partitions of one disk that are missing.
func (out *Output) provision(in Input, d disk.Disk, missing []int) {
	if len(missing) == 0 {
		return
	}

	op, err := layout(in, d, missing, out)
	if err != nil {
		for _, i := range missing {
			out.Volumes[i].Err = err
		}

		return
	}

	if len(op.Parts) > 0 {
		out.Ops = append(out.Ops, op)
	}
}

// layout gives a disk the missing partitions, if they fit.
func layout(in Input, d disk.Disk, missing []int, out *Output) (WriteTable, error) {
	op, err := table(in, d, out)
	if err != nil {
		return op, err
	}

	var need uint64

	installed := Installed(d)

	for _, i := range missing {
		v := out.Volumes[i].Volume
		if installed && slices.Contains([]string{volume.EFI, volume.BIOS, volume.Boot}, v.ID) {
			continue // nothing is moved to make room for a boot loader
		}

		need += v.Min
		op.Parts = append(op.Parts, newPart(v))
	}

	space := d.Free
	if op.Fresh {
		space = d.Size - min(d.Size, reserve)
	}

	if need > space {
		return op, fmt.Errorf("%s has room for %s of partitions, %s are needed", d.Path, disk.Binary(space>>20<<20), disk.Binary(need))
	}

	return op, nil
}

// table decides whether the disk's partition table may be added to, is made anew, or is left alone.
func table(in Input, d disk.Disk, out *Output) (WriteTable, error) {
	ours := Installed(d) || slices.ContainsFunc(d.Parts, func(p disk.Part) bool {
		return slices.ContainsFunc(out.Volumes, func(s Status) bool { return s.Disk == d.Path && s.Part.Index == p.Index })
	})

	system := d.Path == out.SystemDisk

	switch {
	case !usable(d):
		return WriteTable{}, fmt.Errorf("%s cannot be written to", d.Path)
	case d.Content == disk.Blank || d.Content == disk.Installing:
		return WriteTable{Disk: d.Path, Fresh: true}, nil
	case d.Content == disk.GPT && (len(d.Parts) == 0 || ours):
		return WriteTable{Disk: d.Path}, nil
	case system && in.Config.Install.Wipe && !mounted(d):
		return WriteTable{Disk: d.Path, Fresh: true, Wipe: true}, nil
	case system:
		return WriteTable{}, fmt.Errorf("%s holds %s: machine.install.wipe: true has it wiped", d.Path, d.Holds())
	default:
		return WriteTable{}, fmt.Errorf("%s holds %s: it has to be wiped first", d.Path, d.Holds())
	}
}

func newPart(v volume.Volume) NewPart {
	if v.Min == v.Max {
		return NewPart{ID: v.ID, Label: v.Label, Type: v.Type, Size: (v.Min + 1<<20 - 1) >> 20 << 20}
	}

	return NewPart{ID: v.ID, Label: v.Label, Type: v.Type, Max: v.Max}
}
