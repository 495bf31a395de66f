package plan

import (
	"slices"

	"github.com/dactyl-os/dactyl/services/diskd/internal/disk"
)

// finishReset wipes the disks whose every partition is marked: a reset of the whole disk that has not ended.
func finishReset(disks []disk.Disk) []Op {
	var ops []Op

	for _, d := range disks {
		if resetting(d) && !mounted(d) {
			ops = append(ops, WipeDisk{Disk: d.Path})
		}
	}

	return ops
}

func resetting(d disk.Disk) bool {
	return len(d.Parts) > 0 && !slices.ContainsFunc(d.Parts, func(p disk.Part) bool { return !p.Wipe })
}

// Wipes gives what is left to wipe of what was marked and is not in use.
func Wipes(disks []disk.Disk) []Op {
	ops := finishReset(disks)

	for _, d := range disks {
		for _, p := range d.Parts {
			if p.Wipe && p.Mount == "" && !resetting(d) {
				ops = append(ops, WipePart{part{ID: p.Label, Disk: d.Path, Path: p.Path, Index: p.Index}})
			}
		}
	}

	return ops
}
