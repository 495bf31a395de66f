// Package lastrun is what etcdd keeps in its run directory over a restart of the daemon, not of the node: which member
// this node has, and how the last run ended.
package lastrun

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"
)

// format changes when a reader would misunderstand what an older or newer etcdd wrote.
const format = 1

// Run of the daemon.
type Run struct {
	Format int `json:"format"`
	// Member of this node; 0 when it had none.
	Member uint64 `json:"member"`
	// Ended: it was stopped in order, it did not crash.
	Ended bool `json:"ended"`
	// Began is when it was started.
	Began time.Time `json:"began"`
	// Crashes in a row before it, each within soon after a start.
	Crashes int `json:"crashes"`
}

// soon is how long after a start a crash is likely to have the cause of the one before.
const soon = time.Minute

// Again tells how often in a row a run has crashed soon after its start, the last one included.
func (r Run) Again(now time.Time) int {
	switch {
	case r.Began.IsZero() || r.Ended:
		return 0
	case now.Sub(r.Began) > soon:
		return 1
	default:
		return r.Crashes + 1
	}
}

// File keeps the run of this process. One goroutine at a time.
type File struct {
	path string
	run  Run
}

// Begin tells of the last run in this boot, the zero Run if there was none that is understood, and notes that this one runs.
// The File may be used in either case; the error says why nothing is known or kept.
func Begin(path string) (Run, *File, error) {
	last, err := read(path)
	now := time.Now()
	f := &File{path: path, run: Run{Format: format, Member: last.Member, Began: now, Crashes: last.Again(now)}}

	return last, f, errors.Join(err, f.write())
}

// Member notes the member.
func (f *File) Member(id uint64) error {
	if f.run.Member == id {
		return nil
	}

	f.run.Member = id

	return f.write()
}

// End notes that this run ends in order.
func (f *File) End() error {
	f.run.Ended = true

	return f.write()
}

func read(path string) (Run, error) {
	data, err := os.ReadFile(path)

	switch {
	case errors.Is(err, fs.ErrNotExist):
		return Run{}, nil
	case err != nil:
		return Run{}, fmt.Errorf("read memory of the last run: %w", err)
	}

	var run Run
	if err = json.Unmarshal(data, &run); err != nil {
		return Run{}, fmt.Errorf("decode %s: %w", path, err)
	}

	if run.Format != format {
		return Run{}, fmt.Errorf("decode %s: format %d, not %d", path, run.Format, format)
	}

	return run, nil
}

// write needs no sync: the run directory is in memory.
func (f *File) write() error {
	data, err := json.Marshal(f.run)
	if err != nil {
		return fmt.Errorf("encode memory of this run: %w", err)
	}

	next := f.path + ".next"

	if err = os.WriteFile(next, data, 0o600); err != nil {
		return fmt.Errorf("write memory of this run: %w", err)
	}

	if err = os.Rename(next, f.path); err != nil {
		return fmt.Errorf("replace memory of this run: %w", err)
	}

	return nil
}
