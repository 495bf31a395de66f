package block_test

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/dactyl-os/dactyl/services/diskd/internal/block"
	"github.com/dactyl-os/dactyl/services/diskd/internal/block/blocktest"
	"github.com/dactyl-os/dactyl/services/diskd/internal/plan"
	"github.com/dactyl-os/dactyl/services/kit/mountinfo"
)

func TestMain(m *testing.M) { os.Exit(blocktest.Main(m)) }

func system(t *testing.T, scope block.Scope) *block.System {
	t.Helper()

	return &block.System{
		Log: slog.New(slog.DiscardHandler), Dev: "/dev", Sys: "/sys", Mountinfo: mountinfo.Path, Root: t.TempDir(), Scope: scope,
	}
}

// every is every way to write to a disk or to mount it.
func every(s *block.System, disk, part string) map[string]error {
	ctx := context.Background()
	wipe := plan.WipePart{}
	wipe.Disk, wipe.Path, wipe.Index = disk, part, 1
	grow := plan.Grow{By: 1 << 20}
	grow.Disk, grow.Path, grow.Index = disk, part, 1
	mkfs, check, resize, mount, empty := plan.Mkfs{Label: "x"}, plan.Check{}, plan.Resize{}, plan.Mount{Target: "/x"}, plan.MakeMeta{}
	mkfs.Path, check.Path, resize.Path, mount.Path, empty.Path = part, part, part, part, part

	out := map[string]error{"mark": s.Mark(disk, true)}
	_, out["read META"] = s.ReadMeta(part)

	for _, op := range []plan.Op{
		plan.WipeDisk{Disk: disk}, plan.WriteTable{Disk: disk, Fresh: true}, plan.WriteTable{Disk: disk}, wipe, grow, mkfs, check, resize, mount, empty,
	} {
		out[op.String()] = s.Apply(ctx, op)
	}

	return out
}

// A disk outside of the scope is neither looked at nor touched. The paths do not exist, so that a guard that fails does no
// harm either.
func TestOutOfScope(t *testing.T) {
	for _, scope := range []block.Scope{{}, block.Only(), block.Only("/dev/loop77", ""), block.Only("/dev/nothere1")} {
		for what, err := range every(system(t, scope), "/dev/nothere", "/dev/nothere7") {
			if !errors.Is(err, block.ErrNotOurs) {
				t.Errorf("%s: %v", what, err)
			}
		}
	}

	for what, err := range every(system(t, block.Machine()), "/tmp/../dev/nothere", "/tmp/nothere") {
		if !errors.Is(err, block.ErrNotOurs) {
			t.Errorf("%s: %v", what, err)
		}
	}

	disks, err := system(t, block.Scope{}).Disks()
	if err != nil || len(disks) != 0 {
		t.Errorf("%v %v", disks, err)
	}
}

// What is mounted is not written to, even by the daemon of the machine.
func TestInUse(t *testing.T) {
	blocktest.PrivateMounts(t)

	disk := blocktest.NewDisk(t, 64<<20)
	blocktest.Run(t, "mkfs.ext4", "-q", disk.Path)

	target := t.TempDir()
	if err := unix.Mount(disk.Path, target, "ext4", 0, ""); err != nil {
		t.Fatal(err)
	}

	defer unix.Unmount(target, 0) //nolint:errcheck // the namespace goes anyway

	s := system(t, block.Only(disk.Path))
	defer s.Unmount("/x") //nolint:errcheck // likewise

	for what, err := range every(s, disk.Path, disk.Path) {
		switch {
		case what == "read META" || strings.HasPrefix(what, "mount ") || strings.HasPrefix(what, "resize2fs "):
			// Reading and mounting once more do no harm, and a filesystem that is mounted may grow.
		case err == nil:
			t.Errorf("%s is allowed", what)
		case !errors.Is(err, unix.EBUSY) && !strings.Contains(err.Error(), "mounted"):
			t.Errorf("%s: %v", what, err)
		}
	}
}

// The marker of a cut installation, and a table whose first copy is gone.
func TestInterrupted(t *testing.T) {
	blocktest.PrivateMounts(t)

	disk := blocktest.NewDisk(t, 64<<20)
	s := system(t, block.Only(disk.Path))

	fresh := plan.WriteTable{Disk: disk.Path, Fresh: true, Parts: []plan.NewPart{
		{ID: "META", Label: "META", Type: "0fc63daf-8483-4772-8e79-3d69d8477de4", Size: 1 << 20},
		{ID: "STATE", Label: "STATE", Type: "0fc63daf-8483-4772-8e79-3d69d8477de4"},
	}}
	if err := s.Apply(t.Context(), fresh); err != nil {
		t.Fatal(err)
	}

	blocktest.Run(t, "dd", "if=/dev/zero", "of="+disk.Path, "bs=512", "count=34", "conv=fsync", "status=none")

	disks, err := s.Disks()
	if err != nil || len(disks) != 1 || disks[0].Content != "gpt" || disks[0].Labels() != "META, STATE" || disks[0].Parts[0].FS.Type != "dactyl-meta" {
		t.Fatalf("%+v %v", disks, err)
	}

	if err := s.Mark(disk.Path, true, 2); err != nil {
		t.Fatal(err)
	}

	if out := blocktest.Run(t, "sgdisk", "--verify", disk.Path); !strings.Contains(out, "No problems found") {
		t.Errorf("the table was not made whole: %s", out)
	}

	if out := blocktest.Run(t, "sgdisk", "--info=2", disk.Path); !strings.Contains(out, "Attribute flags: 0080000000000000") {
		t.Errorf("the mark: %s", out)
	}

	if err := s.WipeDisk(disk.Path); err != nil {
		t.Fatal(err)
	}

	if disks, err = s.Disks(); err != nil || disks[0].Content != "" || len(disks[0].Parts) != 0 {
		t.Errorf("after the wipe: %+v %v", disks, err)
	}

	if _, err := os.Stat("/sys/class/block/" + filepath.Base(disk.Path) + "p1"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the kernel still has the partition: %v", err)
	}
}
