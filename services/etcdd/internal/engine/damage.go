package engine

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"

	"go.etcd.io/etcd/server/v3/storage/wal"
	"go.uber.org/zap"
	"golang.org/x/sys/unix"

	"github.com/dactyl-os/dactyl/services/kit/etcdsnapshot"
)

// room is what etcd needs on the disk so that it does not end the process soon: the next file of its log has 64 MB, the
// database grows by 16 MiB at least.
const room = 80 << 20

// ErrFull is why a member is not started.
var ErrFull = errors.New("the disk is full")

// Room fails when the disk is too full for a member to run.
func (d Data) Room() error {
	var fs unix.Statfs_t
	if err := unix.Statfs(d.Dir, &fs); err != nil {
		return nil //nolint:nilerr // no directory yet: what makes it will tell
	}

	if free := fs.Bavail * uint64(fs.Bsize); free < room {
		return fmt.Errorf("%w: %s has %d MiB left, etcd needs %d to start; free some, it then starts by itself", ErrFull, d.Dir, free>>20, room>>20)
	}

	return nil
}

// found is a damage that only shows when the member runs.
type found struct {
	Words string `json:"words"`
}

func (d Data) setDamaged(words string) error { return d.write(d.path(damageFile), found{Words: words}) }

// Found tells of a damage that a run has ended with.
func (d Data) Found() error {
	var f found
	if err := read(d.path(damageFile), &f); err != nil || f.Words == "" {
		return err
	}

	return fmt.Errorf("%w: %s", ErrDamaged, f.Words)
}

// ForgetDamage lets a member be started once more.
func (d Data) ForgetDamage() error { return remove(d.path(damageFile)) }

// Damage reads the member's log and database to their ends; nil when a member can be started from them. It takes a moment for
// each 100 MB, and panics in no goroutine where nothing can hold it.
func (d Data) Damage() error {
	if err := d.logDamage(); err != nil {
		return fmt.Errorf("%w: %s: %w", ErrDamaged, d.wal(), err)
	}

	path := filepath.Join(d.member(), "snap", "db")

	err := etcdsnapshot.Walk(path, func(_, _, _ []byte, _ int64) error { return nil })
	if err != nil && !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, etcdsnapshot.ErrLocked) {
		return fmt.Errorf("%w: %s: %w", ErrDamaged, path, err)
	}

	return nil
}

// logDamage ignores an end that is cut off, which a crash leaves and etcd repairs.
func (d Data) logDamage() error {
	log := zap.NewNop()

	snapshots, err := wal.ValidSnapshotEntries(log, d.wal())
	if err != nil {
		return err
	}

	if len(snapshots) == 0 {
		return nil
	}

	w, err := wal.OpenForRead(log, d.wal(), snapshots[len(snapshots)-1])
	if err != nil {
		return err
	}
	defer w.Close()

	if _, _, _, err = w.ReadAll(); errors.Is(err, io.ErrUnexpectedEOF) {
		return nil
	}

	return err
}
