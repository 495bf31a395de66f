package kmsg

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// recordSize is the longest record the kernel gives.
const recordSize = 8 << 10

// Log is where the kernel's log is kept.
type Log interface {
	io.Writer
	Sync() error
}

// Keep copies the kernel's log, from its first line on, until ctx ends. Errors of the kernel are put on the disk at once:
// the next line may be the last.
func Keep(ctx context.Context, path string, log Log) error {
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("open kernel log: %w", err)
	}

	// The runtime's poller waits for more without a thread, and wakes at Close.
	file := os.NewFile(uintptr(fd), path)
	defer file.Close()

	stop := context.AfterFunc(ctx, func() { _ = file.Close() })
	defer stop()

	for buffer := make([]byte, recordSize); ; {
		n, err := file.Read(buffer)

		switch {
		case ctx.Err() != nil:
			return nil
		case errors.Is(err, unix.EPIPE):
			continue // records were overwritten before they were read
		case err != nil:
			return fmt.Errorf("read kernel log: %w", err)
		}

		line, urgent := Line(string(buffer[:n]))
		_, _ = log.Write([]byte(line))

		if urgent {
			_ = log.Sync()
		}
	}
}

// Line makes a line of a record of /dev/kmsg: "[   12.345678] message", as consoles show it. Urgent are errors of the
// kernel itself (Documentation/ABI/testing/dev-kmsg).
func Line(record string) (line string, urgent bool) {
	head, message, found := strings.Cut(record, ";")
	fields := strings.Split(head, ",")

	if !found || len(fields) < 3 {
		return strings.TrimRight(record, "\n") + "\n", false
	}

	priority, err := strconv.ParseUint(fields[0], 10, 16)
	micros, err2 := strconv.ParseUint(fields[2], 10, 64)

	if err != nil || err2 != nil {
		return strings.TrimRight(record, "\n") + "\n", false
	}

	// Lines that begin with a blank are a dictionary for machines.
	message, _, _ = strings.Cut(message, "\n")

	return fmt.Sprintf("[%5d.%06d] %s\n", micros/1e6, micros%1e6, message), priority <= levelError
}
