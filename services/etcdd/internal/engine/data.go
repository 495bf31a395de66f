package engine

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"go.etcd.io/etcd/server/v3/storage/wal"
	"go.etcd.io/etcd/server/v3/storage/wal/walpb"
	"go.uber.org/zap"

	"github.com/dactyl-os/dactyl/services/etcdd/internal/plan"
	"github.com/dactyl-os/dactyl/services/kit/atomicfile"
)

// These lie in the data directory, so that whoever wipes the data wipes them with it.
const (
	intentFile = "start.json"
	outFile    = "out.json"
	damageFile = "damage.json"
)

// Data is etcd's data directory.
type Data struct{ Dir string }

// Note is the intent of a first start.
type Note struct {
	Intent plan.Intent `json:"intent"`
	Member uint64      `json:"member,omitempty"`
	// SkipHash: the snapshot to recover from is a copy of a database file, without a hash.
	SkipHash bool `json:"skipHash,omitempty"`
}

// New tells whether a new cluster begins here.
func (n Note) New() bool { return n.Intent == plan.IntentBootstrap || n.Intent == plan.IntentRecover }

func (d Data) member() string { return filepath.Join(d.Dir, "member") }
func (d Data) wal() string    { return filepath.Join(d.Dir, "member", "wal") }
func (d Data) note() string   { return filepath.Join(d.Dir, intentFile) }
func (d Data) out() string    { return filepath.Join(d.Dir, outFile) }

// State tells what the directory holds and why a first start is under way.
func (d Data) State() (plan.Data, Note, error) {
	var note Note
	if err := read(d.note(), &note); err != nil {
		return plan.DataNone, note, err
	}

	switch {
	case !wal.Exist(d.wal()):
		return plan.DataNone, note, nil
	case note.Intent != plan.IntentNone && d.logIsEmpty():
		return plan.DataUnusable, note, nil
	default:
		return plan.DataPresent, note, nil
	}
}

// SetNote records the intent before it is acted upon; it survives a power cut.
func (d Data) SetNote(n Note) error { return d.write(d.note(), n) }

// Started forgets the intent once the member is ready, and the snapshot that it began with.
func (d Data) Started() error { return errors.Join(remove(d.note()), d.removeSnapshot()) }

// stay is why this node stays out of the cluster.
type stay struct {
	Out plan.Out `json:"out"`
}

// Out tells why this node stays out of the cluster, if it does.
func (d Data) Out() (plan.Out, error) {
	var s stay

	err := read(d.out(), &s)

	return s.Out, err
}

// SetOut makes it stay out; it survives a power cut.
func (d Data) SetOut(out plan.Out) error { return d.write(d.out(), stay{Out: out}) }

// ComeBack forgets that it was a member.
func (d Data) ComeBack() error { return errors.Join(d.Wipe(), remove(d.out())) }

// WipeMember removes the member's files and keeps the intent.
func (d Data) WipeMember() error {
	if d.Dir == "" {
		return errors.New("remove etcd member data: the data directory is not known")
	}

	if err := errors.Join(os.RemoveAll(d.member()), d.ForgetDamage()); err != nil {
		return fmt.Errorf("remove etcd member data: %w", err)
	}

	return nil
}

// Wipe removes the member and its intent, not the directory itself, which may be a mount point.
func (d Data) Wipe() error { return errors.Join(d.WipeMember(), remove(d.note())) }

func (d Data) write(path string, value any) error {
	if err := os.MkdirAll(d.Dir, 0o700); err != nil {
		return fmt.Errorf("make etcd data directory: %w", err)
	}

	data, err := json.Marshal(value)
	if err != nil {
		return fmt.Errorf("encode %s: %w", path, err)
	}

	if err = atomicfile.Write(path, data, 0o600); err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}

	return nil
}

// read leaves value as it is when there is no file.
func read(path string, value any) error {
	data, err := os.ReadFile(path)

	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return fmt.Errorf("read note about etcd: %w", err)
	}

	if err = json.Unmarshal(data, value); err != nil {
		return fmt.Errorf("decode %s: %w", path, err)
	}

	return nil
}

func remove(path string) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("remove note about etcd: %w", err)
	}

	return nil
}

// logIsEmpty is true for a log that was created but never written to: the member would start with no one to vote for or
// answer to. A log that cannot be read is not called empty, so nothing is ever wiped on a doubt.
func (d Data) logIsEmpty() bool {
	log := zap.NewNop()

	snapshots, err := wal.ValidSnapshotEntries(log, d.wal())
	if err != nil || len(snapshots) > 1 || len(snapshots) == 1 && snapshots[0].Index > 0 {
		return false
	}

	w, err := wal.OpenForRead(log, d.wal(), walpb.Snapshot{})
	if err != nil {
		return false
	}
	defer w.Close()

	_, _, entries, err := w.ReadAll()

	return err == nil && len(entries) == 0
}
