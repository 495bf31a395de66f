// Package logring keeps each daemon's output on disk in bounded space: NAME.log and the half before it, NAME.log.1. At boot
// what the boot before wrote becomes NAME.log.prev. The files outlive the daemon and init; readers follow by notification.
package logring

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"
)

// DefaultHalf is the size at which a file gives way to a new one; a ring takes twice as much.
const DefaultHalf = 512 << 10

// Ring is one daemon's log. Positions count every byte since boot.
type Ring struct {
	changed chan struct{}
	current *os.File
	older   *os.File
	path    string
	mu      sync.Mutex
	half    int64
	oldest  int64
	start   int64
	end     int64
	synced  int64 // what is on the disk ends here
}

// Open begins a boot's log of name in dir.
func Open(dir, name string, half int64) (*Ring, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, fmt.Errorf("make log directory: %w", err)
	}

	r := &Ring{path: filepath.Join(dir, name+".log"), half: half, changed: make(chan struct{})}

	if err := r.keepPrevious(); err != nil {
		return nil, fmt.Errorf("keep the previous boot's log of %s: %w", name, err)
	}

	return r, r.create()
}

// PreviousPath is the file with the log of the boot before.
func PreviousPath(dir, name string) string {
	return filepath.Join(dir, name+".log.prev")
}

// keepPrevious joins the two halves of the boot before and sets them aside. A crash in between repeats some lines at worst.
func (r *Ring) keepPrevious() error {
	newest, err := os.ReadFile(r.path)
	if err != nil {
		if errors.Is(err, os.ErrNotExist) {
			return nil
		}

		return err
	}

	older, err := os.OpenFile(r.path+".1", os.O_WRONLY|os.O_APPEND, 0)
	if errors.Is(err, os.ErrNotExist) {
		return os.Rename(r.path, r.path+".prev")
	}

	if err != nil {
		return err
	}

	_, err = older.Write(newest)
	if err := errors.Join(err, older.Close()); err != nil {
		return err
	}

	if err := os.Rename(r.path+".1", r.path+".prev"); err != nil {
		return err
	}

	return os.Remove(r.path)
}

func (r *Ring) create() error {
	f, err := os.OpenFile(r.path, os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return fmt.Errorf("create log: %w", err)
	}

	r.current = f

	return nil
}

// Write appends whole lines.
func (r *Ring) Write(p []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()

	if size := r.end - r.start; size > 0 && size+int64(len(p)) > r.half {
		if err := r.turn(); err != nil {
			return 0, err
		}
	}

	n, err := r.current.WriteAt(p, r.end-r.start)
	r.end += int64(n)

	close(r.changed)
	r.changed = make(chan struct{})

	return n, err
}

// turn makes the current file the older one.
func (r *Ring) turn() error {
	if err := os.Rename(r.path, r.path+".1"); err != nil {
		return fmt.Errorf("turn log: %w", err)
	}

	previous := r.current
	if err := r.create(); err != nil {
		return err
	}

	if r.older != nil {
		_ = r.older.Close()
	}

	r.older, r.oldest, r.start = previous, r.start, r.end

	return nil
}

// Sync puts on the disk what is not there yet. What turned or moved meanwhile is for the next Sync.
func (r *Ring) Sync() error {
	r.mu.Lock()
	current, older, start, end, synced := r.current, r.older, r.start, r.end, r.synced
	r.mu.Unlock()

	if end == synced {
		return nil
	}

	err := current.Sync()
	if synced < start {
		err = errors.Join(older.Sync(), err)
	}

	r.mu.Lock()
	defer r.mu.Unlock()

	if r.current != current {
		return nil
	}

	if err == nil {
		r.synced = end
	}

	return err
}

// Move goes on in a directory that was not there at boot, a disk, and takes along what there is. What the boot before left
// in it is kept. On an error the log stays where it was.
func (r *Ring) Move(dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("make log directory: %w", err)
	}

	r.mu.Lock()
	defer r.mu.Unlock()

	there := &Ring{path: filepath.Join(dir, filepath.Base(r.path))}

	if err := there.keepPrevious(); err != nil {
		return fmt.Errorf("keep the previous boot's log: %w", err)
	}

	var older *os.File

	if r.older != nil {
		var err error
		if older, err = copyLog(there.path+".1", io.NewSectionReader(r.older, 0, r.start-r.oldest)); err != nil {
			return err
		}
	}

	current, err := copyLog(there.path, io.NewSectionReader(r.current, 0, r.end-r.start))
	if err != nil {
		return err
	}

	if r.older != nil {
		_ = r.older.Close()
	}

	_ = r.current.Close()
	r.path, r.older, r.current, r.synced = there.path, older, current, 0

	return nil
}

func copyLog(path string, from io.Reader) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return nil, fmt.Errorf("move log: %w", err)
	}

	if _, err := io.Copy(f, from); err != nil {
		return nil, errors.Join(fmt.Errorf("move log: %w", err), f.Close())
	}

	return f, nil
}

// Close ends the log; readers see no more.
func (r *Ring) Close() error {
	r.mu.Lock()
	defer r.mu.Unlock()

	if r.older != nil {
		_ = r.older.Close()
	}

	return r.current.Close()
}

// Remove ends the log and removes its files, those of the boot before with them.
func (r *Ring) Remove() error {
	err := r.Close()

	for _, more := range []string{"", ".1", ".prev"} {
		if gone := os.Remove(r.path + more); gone != nil && !errors.Is(gone, os.ErrNotExist) {
			err = errors.Join(err, gone)
		}
	}

	return err
}

// Read calls visit with pieces of the log, beginning tail lines back (below zero: with the first byte kept). With follow it
// goes on until ctx ends. A reader that is slower than the ring turns loses what was overwritten.
func (r *Ring) Read(ctx context.Context, tail int, follow bool, visit func([]byte) error) error {
	pos, err := r.tailStart(tail)
	if err != nil {
		return err
	}

	buf := make([]byte, 32<<10)

	for {
		n, at, changed, err := r.readAt(buf, pos)
		if err != nil {
			return err
		}

		pos = at + int64(n)

		if n > 0 {
			if err := visit(buf[:n]); err != nil {
				return err
			}

			continue
		}

		if !follow {
			return nil
		}

		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// readAt reads at a position, or at the oldest one kept when that is gone; at tells which it was.
func (r *Ring) readAt(buf []byte, pos int64) (n int, at int64, changed <-chan struct{}, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()

	at = max(pos, r.oldest)

	switch {
	case at < r.start:
		n, err = r.older.ReadAt(buf[:min(int64(len(buf)), r.start-at)], at-r.oldest)
	case at < r.end:
		n, err = r.current.ReadAt(buf[:min(int64(len(buf)), r.end-at)], at-r.start)
	}

	if err != nil && !errors.Is(err, io.EOF) {
		return 0, at, nil, fmt.Errorf("read log: %w", err)
	}

	return n, at, r.changed, nil
}

// tailStart is where the last lines begin.
func (r *Ring) tailStart(lines int) (int64, error) {
	r.mu.Lock()
	oldest, start, end := r.oldest, r.start, r.end
	r.mu.Unlock()

	if lines < 0 {
		return oldest, nil
	}

	buf := make([]byte, 4<<10)

	// The last byte is the newline of the last line, which does not begin a new one.
	for to := end - 1; to > oldest && lines > 0; {
		from := max(oldest, to-int64(len(buf)))
		if to > start {
			from = max(from, start) // one read stays within one file
		}

		n, _, _, err := r.readAt(buf[:to-from], from)
		if err != nil {
			return 0, err
		}

		for i := bytes.LastIndexByte(buf[:n], '\n'); i >= 0; i = bytes.LastIndexByte(buf[:i], '\n') {
			if lines--; lines == 0 {
				return from + int64(i) + 1, nil
			}
		}

		to = from
	}

	if lines == 0 {
		return end, nil
	}

	return oldest, nil
}

// Tail gives the last lines.
func (r *Ring) Tail(lines int) []string {
	var out []byte

	err := r.Read(context.Background(), lines, false, func(p []byte) error {
		out = append(out, p...)

		return nil
	})
	if err != nil || len(out) == 0 {
		return nil
	}

	var split []string
	for line := range bytes.SplitSeq(bytes.TrimSuffix(out, []byte("\n")), []byte("\n")) {
		split = append(split, string(line))
	}

	return split
}
