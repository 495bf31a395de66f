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

func layout(in Input, d disk.Disk, missing []int, out *Output) (WriteTable, error) {
	op := WriteTable{Disk: d.Path}
	installed := Installed(d)
	ours := installed || slices.ContainsFunc(d.Parts, func(p disk.Part) bool {
		return slices.ContainsFunc(out.Volumes, func(s Status) bool { return s.Disk == d.Path && s.Part.Index == p.Index })
	})

	switch {
	case !usable(d):
		return op, fmt.Errorf("%s cannot be written to", d.Path)
	case d.Content == disk.Blank || d.Content == disk.Installing:
		op.Fresh = true
	case d.Content == disk.GPT && (len(d.Parts) == 0 || ours):
	case d.Path == out.SystemDisk && in.Config.Install.Wipe && !mounted(d):
		op.Fresh, op.Wipe = true, true
	default:
		hint := "it has to be wiped first"
		if d.Path == out.SystemDisk {
			hint = "machine.install.wipe: true has it wiped"
		}

		return op, fmt.Errorf("%s holds %s: %s", d.Path, d.Holds(), hint)
	}

	var need uint64

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

func newPart(v volume.Volume) NewPart {
	if v.Min == v.Max {
		return NewPart{ID: v.ID, Label: v.Label, Type: v.Type, Size: (v.Min + 1<<20 - 1) >> 20 << 20}
	}

	return NewPart{ID: v.ID, Label: v.Label, Type: v.Type, Max: v.Max}
}
