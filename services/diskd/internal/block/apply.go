package block

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/dactyl-os/dactyl/proto/meta"

	"github.com/dactyl-os/dactyl/services/diskd/internal/plan"
	"github.com/dactyl-os/dactyl/services/diskd/internal/volume"
)

// Apply takes one step.
func (s *System) Apply(ctx context.Context, op plan.Op) error {
	switch o := op.(type) {
	case plan.WipeDisk:
		return s.WipeDisk(o.Disk)
	case plan.WriteTable:
		return s.writeTable(o)
	case plan.Grow:
		return s.grow(o)
	case plan.WipePart:
		return s.wipePart(o)
	case plan.MakeMeta:
		return s.makeMeta(o.Path)
	case plan.Mkfs:
		// Inode tables are zeroed by the kernel after mounting: making a large filesystem takes a second.
		return s.run(ctx, o.Path, "mkfs.ext4", "-q", "-F", "-L", o.Label, "-E", "lazy_itable_init=1,lazy_journal_init=1", o.Path)
	case plan.Check:
		return s.check(ctx, o)
	case plan.Mount:
		if o.ID == volume.State {
			if err := s.carry(o.Path, o.Target, volume.Ext4); err != nil {
				return err
			}
		}

		return s.Mount(o.Path, o.Target, volume.Ext4, o.Options)
	case plan.Resize:
		return s.run(ctx, o.Path, "resize2fs", o.Path)
	default:
		return fmt.Errorf("step %T is not known", op)
	}
}

// run calls one of the few programs that have no Go counterpart, on a device within the scope.
func (s *System) run(ctx context.Context, path, name string, args ...string) error {
	if err := s.guard(path); err != nil {
		return err
	}

	out, err := exec.CommandContext(ctx, name, args...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("%s: %w: %s", name, err, strings.TrimSpace(string(out)))
	}

	return nil
}

// check lets e2fsck repair what it may; it exits with 1 when it did, with 2 when it asks for a reboot.
func (s *System) check(ctx context.Context, o plan.Check) error {
	args := []string{"-p", o.Path}
	if o.Force {
		args = append([]string{"-f"}, args...)
	}

	err := s.run(ctx, o.Path, "e2fsck", args...)

	var exit *exec.ExitError
	if errors.As(err, &exit) && exit.ExitCode() <= 2 && exit.ExitCode() > 0 {
		s.Log.Warn("filesystem was repaired", "device", o.Path, "report", err.Error())

		return nil
	}

	return err
}

// exclusive opens a device for writing. The kernel refuses when it, or any part of it, is mounted or otherwise in use,
// in whatever namespace.
func (s *System) exclusive(path string) (*os.File, error) {
	if err := s.guard(path); err != nil {
		return nil, err
	}

	return os.OpenFile(path, os.O_RDWR|unix.O_EXCL, 0)
}

// WipeDisk takes away whatever makes a disk's contents known: both ends and both ends of each partition.
func (s *System) WipeDisk(path string) (err error) {
	f, err := s.exclusive(path)
	if err != nil {
		return fmt.Errorf("open %s: %w", path, err)
	}

	defer func() { err = errors.Join(err, f.Close()) }()

	size, err := f.Seek(0, io.SeekEnd)
	if err != nil {
		return err
	}

	table, err := readTable(f)
	if err == nil {
		sector, err := sectorSize(f)
		if err != nil {
			return err
		}

		for _, p := range table.Partitions() {
			if p == nil {
				continue
			}

			start := int64(p.FirstLBA) * sector
			if err := wipeEnds(f, start, int64(p.LastLBA+1)*sector-start); err != nil {
				return err
			}
		}

		if err := f.Sync(); err != nil {
			return err
		}

		// The kernel forgets the partitions, too.
		table.Clear()

		if err := table.Write(); err != nil {
			return fmt.Errorf("clear partition table: %w", err)
		}
	}

	// The table goes last: until then its marks say that the reset has not ended.
	if err := wipeEnds(f, 0, size); err != nil {
		return err
	}

	return f.Sync()
}

// wipeEnds zeroes the first and last MiB of a range.
func wipeEnds(f *os.File, start, length int64) error {
	zeros := make([]byte, min(edge, length))

	for _, offset := range []int64{start, start + length - int64(len(zeros))} {
		if _, err := f.WriteAt(zeros, offset); err != nil {
			return fmt.Errorf("wipe at %d: %w", offset, err)
		}
	}

	return nil
}

func (s *System) wipePart(o plan.WipePart) error {
	f, err := s.exclusive(o.Path)
	if err != nil {
		return fmt.Errorf("open %s: %w", o.Path, err)
	}

	size, err := f.Seek(0, io.SeekEnd)
	if err == nil {
		err = wipeEnds(f, 0, size)
	}

	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}

	return s.Mark(o.Disk, false, o.Index)
}

func (s *System) makeMeta(path string) error {
	data, err := meta.Encode(meta.Values{}, 0)
	if err != nil {
		return err
	}

	return s.writeMeta(path, data)
}

// ReadMeta reads the bytes of a META partition.
func (s *System) ReadMeta(path string) ([]byte, error) {
	if err := s.guard(path); err != nil {
		return nil, err
	}

	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}

	defer f.Close() // only read

	return readAt(f, 0, meta.Size)
}

// ErrOlder tells that META holds something that was written later.
var ErrOlder = errors.New("META holds a newer generation")

// WriteMeta replaces the bytes of a META partition, one copy after the other. The same bytes may be written again; a
// generation that is not newer is refused, as it comes from a call that somebody gave up waiting for.
func (s *System) WriteMeta(path string, data []byte) error {
	if _, _, err := meta.Decode(data); err != nil || len(data) != meta.Size || zero(data) {
		return errors.New("the bytes are not an encoded META")
	}

	return s.writeMeta(path, data)
}

func (s *System) writeMeta(path string, data []byte) (err error) {
	s.meta.Lock()
	defer s.meta.Unlock()

	f, err := s.exclusive(path)
	if err != nil {
		return fmt.Errorf("open META: %w", err)
	}

	defer func() { err = errors.Join(err, f.Close()) }()

	current, err := readAt(f, 0, meta.Size)
	if err != nil {
		return fmt.Errorf("read META: %w", err)
	}

	next, generation, _ := meta.Decode(data) // it was decoded, or made, before
	if _, held, err := meta.Decode(current); err == nil && (held > generation || held == generation && !equal(next, current)) {
		return fmt.Errorf("%w: %d, given %d", ErrOlder, held, generation)
	}

	for _, w := range meta.Writes(current, data) {
		if _, err := f.WriteAt(w.Data, int64(w.Offset)); err != nil {
			return fmt.Errorf("write META: %w", err)
		}

		if err := f.Sync(); err != nil {
			return fmt.Errorf("write META: %w", err)
		}
	}

	written, err := readAt(f, 0, meta.Size)
	if err != nil {
		return fmt.Errorf("read META: %w", err)
	}

	if !equal(next, written) {
		return errors.New("META reads back differently")
	}

	return nil
}

func equal(want meta.Values, data []byte) bool {
	got, _, err := meta.Decode(data)
	if err != nil || len(got) != len(want) {
		return false
	}

	for key, value := range want {
		if !bytes.Equal(got[key], value) {
			return false
		}
	}

	return true
}
