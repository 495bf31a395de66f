package block

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"github.com/google/uuid"
	bd "github.com/siderolabs/go-blockdevice/v2/block"
	"github.com/siderolabs/go-blockdevice/v2/partitioning/gpt"
	"golang.org/x/sys/unix"

	"github.com/dactyl-os/dactyl/proto/meta"

	"github.com/dactyl-os/dactyl/services/diskd/internal/plan"
	"github.com/dactyl-os/dactyl/services/diskd/internal/volume"
)

// ordered lets each write reach the disk before the next one: the first copy of a table is whole before the second is
// touched.
type ordered struct{ gpt.Device }

func (o ordered) WriteAt(data []byte, offset int64) (int, error) {
	n, err := o.Device.WriteAt(data, offset)
	if err != nil {
		return n, err
	}

	return n, o.Sync()
}

// change reads a table, alters it and writes it. A power cut leaves the old table or the new one: writing it unaltered
// first makes both copies whole, so one is while the other is replaced.
func change(dev gpt.Device, alter func(*gpt.Table) error) error {
	table, err := gpt.Read(ordered{dev})
	if err != nil {
		return fmt.Errorf("read partition table: %w", err)
	}

	if err := table.Write(); err != nil {
		return fmt.Errorf("write partition table: %w", err)
	}

	if err := alter(table); err != nil {
		return err
	}

	if err := table.Write(); err != nil {
		return fmt.Errorf("write partition table: %w", err)
	}

	return nil
}

func device(f *os.File) (gpt.Device, error) { return gpt.DeviceFromBlockDevice(bd.NewFromFile(f)) }

func sectorSize(f *os.File) (int64, error) {
	n, err := unix.IoctlGetInt(int(f.Fd()), unix.BLKSSZGET)
	if err != nil {
		return 0, fmt.Errorf("read sector size: %w", err)
	}

	return int64(n), nil
}

// writeTable makes partitions. Where one begins and ends is wiped before the table tells of it, so that nothing of what
// was there before is taken for its contents.
func (s *System) writeTable(o plan.WriteTable) (err error) {
	open := s.exclusive
	if !o.Fresh {
		open = s.shared
	}

	f, err := open(o.Disk)
	if err != nil {
		return fmt.Errorf("open %s: %w", o.Disk, err)
	}

	defer func() { err = errors.Join(err, f.Close()) }()

	dev, err := device(f)
	if err != nil {
		return err
	}

	add := func(table *gpt.Table) error { return allocate(f, dev, table, o.Parts) }

	if !o.Fresh {
		return change(dev, add)
	}

	if o.Wipe {
		if err := wipeEnds(f, 0, int64(dev.GetSize())); err != nil {
			return err
		}
	}

	return fresh(f, dev, add)
}

// fresh makes a new table. A marker says for the meantime that a table that cannot be read is ours.
func fresh(f *os.File, dev gpt.Device, add func(*gpt.Table) error) error {
	marker := make([]byte, 4096)
	copy(marker, markerText)

	if _, err := f.WriteAt(marker, markerOffset); err != nil {
		return fmt.Errorf("begin partitioning: %w", err)
	}

	if err := f.Sync(); err != nil {
		return fmt.Errorf("begin partitioning: %w", err)
	}

	table, err := gpt.New(ordered{dev})
	if err != nil {
		return fmt.Errorf("new partition table: %w", err)
	}

	if err := add(table); err != nil {
		return err
	}

	if err := table.Write(); err != nil {
		return fmt.Errorf("write partition table: %w", err)
	}

	if _, err := f.WriteAt(make([]byte, len(marker)), markerOffset); err != nil {
		return fmt.Errorf("end partitioning: %w", err)
	}

	return f.Sync()
}

func allocate(f *os.File, dev gpt.Device, table *gpt.Table, parts []plan.NewPart) error {
	sector := int64(dev.GetSectorSize())

	for _, p := range parts {
		size := p.Size
		if size == 0 {
			size = table.LargestContiguousAllocatable() >> 20 << 20
			if p.Max != 0 {
				size = min(size, p.Max)
			}
		}

		typ, err := uuid.Parse(p.Type)
		if err != nil {
			return fmt.Errorf("partition %s: %w", p.Label, err)
		}

		_, entry, err := table.AllocatePartition(size, p.Label, typ)
		if err != nil {
			return fmt.Errorf("partition %s: %w", p.Label, err)
		}

		start := int64(entry.FirstLBA) * sector
		if err := wipeEnds(f, start, int64(entry.LastLBA+1)*sector-start); err != nil {
			return err
		}

		if p.Label == volume.Meta {
			if err := emptyMeta(f, start); err != nil {
				return err
			}
		}
	}

	return f.Sync()
}

func emptyMeta(f *os.File, start int64) error {
	data, err := meta.Encode(meta.Values{}, 0)
	if err != nil {
		return err
	}

	_, err = f.WriteAt(data, start)

	return err
}

// shared opens a disk whose partitions may be mounted, to alter its table; never one that is mounted as a whole.
func (s *System) shared(path string) (*os.File, error) {
	f, err := s.exclusive(path)
	if !errors.Is(err, unix.EBUSY) {
		return f, err
	}

	mounts, err := s.mounts()
	if err != nil {
		return nil, err
	}

	if m, whole := mounts[devno(s.devno(s.wholeDisk(filepath.Base(path))))]; whole {
		return nil, fmt.Errorf("%s is mounted at %s: %w", path, m.Target, unix.EBUSY)
	}

	return os.OpenFile(path, os.O_RDWR, 0)
}

func (s *System) grow(o plan.Grow) (err error) {
	f, err := s.shared(o.Disk)
	if err != nil {
		return fmt.Errorf("open %s: %w", o.Disk, err)
	}

	defer func() { err = errors.Join(err, f.Close()) }()

	dev, err := device(f)
	if err != nil {
		return err
	}

	return change(dev, func(table *gpt.Table) error {
		available, err := table.AvailablePartitionGrowth(o.Index - 1)
		if err != nil {
			return err
		}

		return table.GrowPartition(o.Index-1, min(available, o.By)>>20<<20)
	})
}

// Mark marks partitions to be wiped before they are used again, or takes the mark away; without indexes all of them.
func (s *System) Mark(path string, wipe bool, indexes ...int) (err error) {
	f, err := s.shared(path)
	if err != nil {
		return fmt.Errorf("open %s: %w", path, err)
	}

	defer func() { err = errors.Join(err, f.Close()) }()

	dev, err := device(f)
	if err != nil {
		return err
	}

	return change(dev, func(table *gpt.Table) error {
		for i, p := range table.Partitions() {
			if p == nil || len(indexes) > 0 && !slices.Contains(indexes, i+1) {
				continue
			}

			p.Flags &^= wipeFlag
			if wipe {
				p.Flags |= wipeFlag
			}
		}

		return nil
	})
}
