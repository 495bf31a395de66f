package engine

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"

	"go.etcd.io/etcd/etcdutl/v3/snapshot"
	"go.uber.org/zap/zapcore"

	"github.com/dactyl-os/dactyl/services/kit/atomicfile"
	"github.com/dactyl-os/dactyl/services/kit/etcdsnapshot"
	"github.com/dactyl-os/dactyl/services/kit/zapslog"
)

// A snapshot lies in the data directory until the member that began with it is ready, what is made of it in a directory
// beside the member's, which takes its place in one step.
const (
	snapshotFile = "recover.snapshot"
	partFile     = "recover.snapshot.part"
	restoreDir   = "restore"
)

// revisionBump is how far the revision goes on behind that of the snapshot: watchers that saw later ones than the snapshot has
// must not take new changes for old. It is etcd's own suggestion, a week of 1,500 changes a second.
const revisionBump = 1_000_000_000

// ErrNoSnapshot is a recovery without an upload.
var ErrNoSnapshot = errors.New("no snapshot was uploaded to this node (bootstrap --recover-from=FILE uploads one)")

func (d Data) path(name string) string { return filepath.Join(d.Dir, name) }

// SaveSnapshot keeps what write writes as the snapshot to recover from, instead of an earlier one. An upload that breaks off
// leaves the earlier one.
func (d Data) SaveSnapshot(write func(io.Writer) error) error {
	if err := os.MkdirAll(d.Dir, 0o700); err != nil {
		return fmt.Errorf("make etcd data directory: %w", err)
	}

	part := d.path(partFile)

	f, err := os.OpenFile(part, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600)
	if err != nil {
		return fmt.Errorf("keep snapshot: %w", err)
	}

	if err = write(f); err == nil {
		err = f.Sync()
	}

	if err = errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("keep snapshot: %w", errors.Join(err, os.Remove(part)))
	}

	if err = os.Rename(part, d.path(snapshotFile)); err != nil {
		return fmt.Errorf("keep snapshot: %w", err)
	}

	return atomicfile.SyncDir(d.Dir)
}

// Snapshot checks the one that was uploaded and tells what is in it.
func (d Data) Snapshot(skipHash bool) (etcdsnapshot.Info, error) {
	info, err := etcdsnapshot.Read(d.path(snapshotFile), skipHash)
	if errors.Is(err, fs.ErrNotExist) {
		return info, ErrNoSnapshot
	}

	return info, err
}

// Restore makes the data of a cluster's first member from the snapshot. Cut off anywhere it is done again from the start.
func (d Data) Restore(s Settings, skipHash bool, log *slog.Logger) (err error) {
	if err = d.Room(); err != nil {
		return err
	}

	made := d.path(restoreDir)
	if err = errors.Join(d.WipeMember(), os.RemoveAll(made)); err != nil {
		return fmt.Errorf("recover etcd from the snapshot: %w", err)
	}

	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("recover etcd from the snapshot: %v", r)
		}
	}()

	// The token makes IDs that no member of the old cluster has: one that lives is never taken for a member of this one.
	err = snapshot.NewV3(zapslog.New(log, zapslog.Options{Least: zapcore.InfoLevel})).Restore(snapshot.RestoreConfig{
		SnapshotPath: d.path(snapshotFile), SkipHashCheck: skipHash, OutputDataDir: made,
		Name: s.Name, PeerURLs: s.PeerURLs, InitialCluster: initialCluster(s, nil), InitialClusterToken: rand.Text(),
		RevisionBump: revisionBump, MarkCompacted: true,
	})
	if err != nil {
		return fmt.Errorf("recover etcd from the snapshot: %w", err)
	}

	if err = os.Rename(filepath.Join(made, "member"), d.member()); err != nil {
		return fmt.Errorf("recover etcd from the snapshot: %w", err)
	}

	return atomicfile.SyncDir(d.Dir)
}

// removeSnapshot removes all that a recovery, also one that was cut off, leaves.
func (d Data) removeSnapshot() error {
	return errors.Join(remove(d.path(snapshotFile)), remove(d.path(partFile)), os.RemoveAll(d.path(restoreDir)))
}
