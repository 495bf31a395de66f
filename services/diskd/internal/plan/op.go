package plan

import (
	"fmt"
	"strings"

	"github.com/dactyl-os/dactyl/services/diskd/internal/disk"
)

// Op is one step that changes a disk or the mounts. For names the volumes that fail with it.
type Op interface {
	String() string
	For() []string
}

// NewPart is a partition to make; Size 0 takes what is left, at most Max.
type NewPart struct {
	ID, Label, Type string
	Size, Max       uint64
}

func (p NewPart) String() string {
	switch {
	case p.Size != 0:
		return p.Label + " " + disk.Binary(p.Size)
	case p.Max != 0:
		return p.Label + " at most " + disk.Binary(p.Max)
	default:
		return p.Label + " the rest"
	}
}

// WriteTable makes partitions, in a new table (Fresh) or beside those there are. Wipe: what the disk held goes first.
type WriteTable struct {
	Disk  string
	Parts []NewPart
	Fresh bool
	Wipe  bool
}

func (o WriteTable) String() string {
	verb := "add partitions to"

	switch {
	case o.Wipe:
		verb = "wipe and partition"
	case o.Fresh:
		verb = "partition"
	}

	parts := make([]string, len(o.Parts))
	for i, p := range o.Parts {
		parts[i] = p.String()
	}

	return fmt.Sprintf("%s %s: %s", verb, o.Disk, strings.Join(parts, ", "))
}

// For names the volumes.
func (o WriteTable) For() []string {
	ids := make([]string, len(o.Parts))
	for i, p := range o.Parts {
		ids[i] = p.ID
	}

	return ids
}

// WipeDisk ends a reset of the whole disk.
type WipeDisk struct{ Disk string }

func (o WipeDisk) String() string { return "wipe " + o.Disk }

// For names no volume: there is none on the disk any more.
func (o WipeDisk) For() []string { return nil }

// part is what every step on one volume's partition has.
type part struct {
	ID, Disk, Path string
	Index          int
}

// For names the volume.
func (p part) For() []string { return []string{p.ID} }

// WipePart takes away what a partition holds, and then its mark.
type WipePart struct{ part }

func (o WipePart) String() string { return "wipe " + o.Path + " (" + o.ID + ")" }

// Grow makes a partition larger, at most by By.
type Grow struct {
	part
	By uint64
}

func (o Grow) String() string { return "grow " + o.Path + " by " + disk.Binary(o.By) }

// MakeMeta writes an empty META.
type MakeMeta struct{ part }

func (o MakeMeta) String() string { return "make an empty META on " + o.Path }

// Mkfs makes an ext4 filesystem.
type Mkfs struct {
	part
	Label string
}

func (o Mkfs) String() string { return "mkfs.ext4 -L " + o.Label + " " + o.Path }

// Check repairs what can be repaired without asking; Force looks at a clean filesystem, too.
type Check struct {
	part
	Force bool
}

func (o Check) String() string {
	if o.Force {
		return "e2fsck -f -p " + o.Path
	}

	return "e2fsck -p " + o.Path
}

// Mount mounts an ext4 filesystem.
type Mount struct {
	part
	Target  string
	Options []string
}

func (o Mount) String() string {
	text := "mount " + o.Path + " " + o.Target
	if len(o.Options) > 0 {
		text += " -o " + strings.Join(o.Options, ",")
	}

	return text
}

// Resize makes a filesystem as large as its partition. It is not mounted: growing a mounted one needs CAP_SYS_RESOURCE.
type Resize struct{ part }

func (o Resize) String() string { return "resize2fs " + o.Path }

// Print gives one line per step.
func Print(ops []Op) string {
	var b strings.Builder

	for _, op := range ops {
		b.WriteString(op.String() + "\n")
	}

	return b.String()
}
