package files

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
)

// Chunk is how much of a file goes into one message.
const Chunk = 64 << 10

// ErrNotRegular is given for a path that is no regular file.
var ErrNotRegular = errors.New("path must be a regular file")

// ErrTaken is given for what one reader takes away from the others.
var ErrTaken = errors.New("whoever reads it takes the messages away from others: dmesg reads them without")

// Open opens a regular file, or what reads like one (as those in /proc do). Looking and opening are one: what is there is
// neither waited for nor touched before it is known to be a file.
func (r Root) Open(path string) (*os.File, error) {
	at, err := r.Resolve(path)
	if err != nil {
		return nil, err
	}

	return r.open(at)
}

func (r Root) open(at string) (*os.File, error) {
	found, err := r.find(at)
	if err != nil {
		return nil, err
	}
	defer found.Close()

	info, err := found.Stat()
	if err != nil {
		return nil, err
	}

	// A pipe or a device may block for ever or have side effects.
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%w: %s is %s", ErrNotRegular, r.Show(at), kind(info.Mode()))
	}

	if log, err := os.Stat(filepath.Join(string(r), "proc/kmsg")); err == nil && os.SameFile(info, log) {
		return nil, fmt.Errorf("%s: %w", r.Show(at), ErrTaken)
	}

	return again(found)
}

// kind names what is no regular file.
func kind(mode os.FileMode) string {
	switch {
	case mode.IsDir():
		return "a directory"
	case mode&os.ModeNamedPipe != 0:
		return "a named pipe"
	case mode&os.ModeSocket != 0:
		return "a socket"
	case mode&os.ModeDevice != 0:
		return "a device"
	default:
		return "something else"
	}
}

// Send sends what src gives in chunks, each buffer free again when send returns.
func Send(ctx context.Context, src io.Reader, send func([]byte) error) error {
	buffer := make([]byte, Chunk)

	for ctx.Err() == nil {
		n, err := src.Read(buffer)
		if n > 0 {
			if sendErr := send(buffer[:n]); sendErr != nil {
				return sendErr
			}
		}

		if errors.Is(err, io.EOF) {
			return nil
		}

		if err != nil {
			return err
		}
	}

	return ctx.Err()
}
