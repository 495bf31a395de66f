package block

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"github.com/siderolabs/go-blockdevice/v2/blkid"
	bd "github.com/siderolabs/go-blockdevice/v2/block"
	"github.com/siderolabs/go-blockdevice/v2/partitioning/gpt"
	"golang.org/x/sys/unix"

	"github.com/dactyl-os/dactyl/proto/meta"

	"github.com/dactyl-os/dactyl/services/diskd/internal/disk"
	"github.com/dactyl-os/dactyl/services/diskd/internal/volume"
	"github.com/dactyl-os/dactyl/services/kit/mountinfo"
)

// System is the machine's disks and mounts.
type System struct {
	Log *slog.Logger
	// Dev, Sys and Mountinfo are /dev, /sys and /proc/self/mountinfo.
	Dev, Sys, Mountinfo string
	// Root is put before the targets of mounts.
	Root  string
	Scope Scope

	meta sync.Mutex // one writing of META at a time
}

// Filesystem types that stand for META.
const (
	metaType    = "dactyl-meta"
	metaDamaged = "damaged META"
)

// wipeFlag marks a partition that is to be wiped: one of the attribute bits that a partition type defines for itself.
const wipeFlag = 1 << 55

// Marker of a table that is being made, between the table and the first partition.
const (
	markerOffset = 512 << 10
	markerText   = "dactyl: partitioning was begun"
	edge         = 1 << 20 // what is looked at, and wiped, at both ends
)

// Disks looks at every disk within the scope, by name.
func (s *System) Disks() ([]disk.Disk, error) {
	if s.Scope.Empty() {
		return nil, nil
	}

	entries, err := os.ReadDir(filepath.Join(s.Sys, "block"))
	if err != nil {
		return nil, fmt.Errorf("list disks: %w", err)
	}

	mounts, err := s.mounts()
	if err != nil {
		return nil, err
	}

	var disks []disk.Disk

	for _, entry := range entries {
		name := entry.Name()
		if !s.Scope.Has(name) || strings.HasPrefix(name, "ram") || strings.HasPrefix(name, "zram") {
			continue
		}

		d := s.properties(name)
		if d.Size == 0 {
			continue // a drive without a medium, a loop device without a file
		}

		if err := s.look(&d, mounts); err != nil && !errors.Is(err, unix.ENOMEDIUM) {
			// A disk that cannot be read is shown, and nothing is done with it.
			s.Log.Warn("disk cannot be read", "disk", d.Path, "error", err)

			d.Content, d.Parts = disk.Unknown, nil
		}

		disks = append(disks, d)
	}

	return disks, nil
}

// look reads what the disk holds.
func (s *System) look(d *disk.Disk, mounts map[string]mountinfo.Mount) error {
	f, err := os.Open(d.Path)
	if err != nil {
		return err
	}

	defer f.Close() // only read

	d.Mount = mounts[devno(d.Major, d.Minor)].Target

	if info, err := probe(f); err == nil && info.Name != "" {
		d.Content, d.FS = info.Name, filesystem(info.ProbeResult)
	}

	// The library's prober knows a table by its first copy; the table's reader takes the second one, too.
	if d.Content == disk.GPT || d.Content == disk.Blank {
		table, err := readTable(f)
		if err == nil {
			d.Content, d.FS = disk.GPT, disk.Filesystem{}

			return s.lookAtParts(d, table, mounts)
		}
	}

	if d.Content == disk.Blank || d.Content == disk.GPT {
		d.Content, err = contentOf(f, d.Size)
	}

	return err
}

// contentOf tells a blank disk from one that holds what nobody here knows.
func contentOf(f io.ReaderAt, size uint64) (string, error) {
	head, err := readAt(f, 0, min(edge, size))
	if err != nil {
		return "", err
	}

	if len(head) > markerOffset && bytes.HasPrefix(head[markerOffset:], []byte(markerText)) {
		return disk.Installing, nil
	}

	tail, err := readAt(f, size-min(edge, size), min(edge, size))
	if err != nil {
		return "", err
	}

	if zero(head) && zero(tail) {
		return disk.Blank, nil
	}

	return disk.Unknown, nil
}

func readAt(f io.ReaderAt, offset, length uint64) ([]byte, error) {
	data := make([]byte, length)
	_, err := io.ReadFull(io.NewSectionReader(f, int64(offset), int64(length)), data)

	return data, err
}

func zero(data []byte) bool { return len(bytes.TrimLeft(data, "\x00")) == 0 }

func readTable(f *os.File) (*gpt.Table, error) {
	dev, err := gpt.DeviceFromBlockDevice(bd.NewFromFile(f))
	if err != nil {
		return nil, err
	}

	return gpt.Read(dev)
}

func (s *System) lookAtParts(d *disk.Disk, table *gpt.Table, mounts map[string]mountinfo.Mount) error {
	d.Free = table.LargestContiguousAllocatable()

	for i, entry := range table.Partitions() {
		if entry == nil {
			continue
		}

		p := disk.Part{
			Index: i + 1, Path: disk.PartPath(d.Path, i+1), Label: entry.Name,
			TypeGUID: entry.TypeGUID.String(), UUID: entry.PartGUID.String(),
			Offset: entry.FirstLBA * d.Sector, Size: (entry.LastLBA - entry.FirstLBA + 1) * d.Sector,
			Wipe: entry.Flags&wipeFlag != 0,
		}
		p.Name = filepath.Base(p.Path)
		p.Growth, _ = table.AvailablePartitionGrowth(i) // the index is within the table
		p.Major, p.Minor = s.devno(p.Name)
		p.Mount = mounts[devno(p.Major, p.Minor)].Target

		if err := s.lookInside(&p); err != nil {
			return fmt.Errorf("look at %s: %w", p.Path, err)
		}

		d.Parts = append(d.Parts, p)
	}

	return nil
}

func (s *System) lookInside(p *disk.Part) error {
	f, err := os.Open(p.Path)
	if errors.Is(err, fs.ErrNotExist) {
		p.FS.Type = "not there yet" // the kernel is still making the node: nothing may be formatted

		return nil
	}

	if err != nil {
		return err
	}

	defer f.Close() // only read

	if p.Label == volume.Meta {
		p.FS.Type, err = metaContent(f)

		return err
	}

	info, err := probe(f)
	if err != nil {
		return err
	}

	if p.FS = filesystem(info.ProbeResult); p.FS.Type == "" && p.Label == volume.State {
		p.FS.Type, err = damaged(f)
	}

	return err
}

// superblock is where ext4 keeps what it is.
const superblock = 1 << 10

// damaged tells a filesystem that is not known any more from a partition that has none yet. What is to be formatted was wiped
// before, and making a filesystem writes its superblock last.
func damaged(f io.ReaderAt) (string, error) {
	data, err := readAt(f, superblock, superblock)
	if err != nil || zero(data) {
		return "", err
	}

	return "something damaged", nil
}

func metaContent(f io.ReaderAt) (string, error) {
	data, err := readAt(f, 0, meta.Size)
	if err != nil {
		return "", err
	}

	switch _, generation, err := meta.Decode(data); {
	case err != nil:
		return metaDamaged, nil
	case generation == 0 && zero(data):
		return "", nil
	default:
		return metaType, nil
	}
}

func filesystem(r blkid.ProbeResult) disk.Filesystem {
	out := disk.Filesystem{Type: r.Name, Size: r.ProbedSize, BlockSize: r.BlockSize, FSBlockSz: r.FilesystemBlockSize}

	if r.Name == "extfs" {
		out.Type = volume.Ext4
	}

	if r.Label != nil {
		out.Label = strings.TrimRight(*r.Label, " \x00")
	}

	if r.UUID != nil {
		out.UUID = r.UUID.String()
	}

	return out
}
