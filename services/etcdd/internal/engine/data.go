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

// intentFile lies in the data directory, so that whoever wipes the data wipes the intent with it.
const intentFile = "start.json"

// Data is etcd's data directory.
type Data struct{ Dir string }

// Note is the intent of a first start.
type Note struct {
	Intent plan.Intent `json:"intent"`
	Member uint64      `json:"member,omitempty"`
}

func (d Data) member() string { return filepath.Join(d.Dir, "member") }
func (d Data) wal() string    { return filepath.Join(d.Dir, "member", "wal") }
func (d Data) note() string   { return filepath.Join(d.Dir, intentFile) }

// State tells what the directory holds and why a first start is under way.
func (d Data) State() (plan.Data, Note, error) {
	note, err := d.readNote()
	if err != nil {
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
func (d Data) SetNote(n Note) error {
	if err := os.MkdirAll(d.Dir, 0o700); err != nil {
		return fmt.Errorf("make etcd data directory: %w", err)
	}

	data, err := json.Marshal(n)
	if err != nil {
		return fmt.Errorf("encode start note: %w", err)
	}

	if err = atomicfile.Write(d.note(), data, 0o600); err != nil {
		return fmt.Errorf("write start note: %w", err)
	}

	return nil
}

// ClearNote forgets the intent once the member is ready.
func (d Data) ClearNote() error {
	if err := os.Remove(d.note()); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("remove start note: %w", err)
	}

	return nil
}

// WipeMember removes the member's files and keeps the intent.
func (d Data) WipeMember() error {
	if d.Dir == "" {
		return errors.New("remove etcd member data: the data directory is not known")
	}

	if err := os.RemoveAll(d.member()); err != nil {
		return fmt.Errorf("remove etcd member data: %w", err)
	}

	return nil
}

// Wipe removes everything but the directory itself, which may be a mount point.
func (d Data) Wipe() error { return errors.Join(d.WipeMember(), d.ClearNote()) }

func (d Data) readNote() (Note, error) {
	var n Note

	data, err := os.ReadFile(d.note())
	if errors.Is(err, fs.ErrNotExist) {
		return n, nil
	}

	if err != nil {
		return n, fmt.Errorf("read start note: %w", err)
	}

	if err = json.Unmarshal(data, &n); err != nil {
		return n, fmt.Errorf("decode start note: %w", err)
	}

	return n, nil
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
