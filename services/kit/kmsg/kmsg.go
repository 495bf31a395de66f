// Package kmsg reads the kernel's log, in the format of /dev/kmsg (Documentation/ABI/testing/dev-kmsg).
package kmsg

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// recordSize is the longest record the kernel gives.
const recordSize = 8 << 10

// Record of the log.
type Record struct {
	// Priority is 0 (emergency) to 7 (debug), Facility 0 for the kernel itself, both as in syslog(3).
	Priority, Facility int
	// At is when, by the clock that begins with the boot and stops while the machine sleeps.
	At time.Duration
	// Sequence numbers the records of a boot.
	Sequence uint64
	Message  string
}

// Parse takes a record apart; false for what is none.
func Parse(text string) (Record, bool) {
	head, message, found := strings.Cut(text, ";")
	fields := strings.Split(head, ",")

	if !found || len(fields) < 3 {
		return Record{}, false
	}

	priority, err := strconv.ParseUint(fields[0], 10, 16)
	sequence, err3 := strconv.ParseUint(fields[1], 10, 64)
	micros, err2 := strconv.ParseInt(fields[2], 10, 64)

	if err != nil || err2 != nil || err3 != nil || micros < 0 {
		return Record{}, false
	}

	// Lines that begin with a blank are a dictionary for machines.
	message, _, _ = strings.Cut(message, "\n")

	return Record{
		Priority: int(priority & 7), Facility: int(priority >> 3), At: time.Duration(micros) * time.Microsecond, Message: message, Sequence: sequence,
	}, true
}

// Options of a read.
type Options struct {
	// Follow goes on with records that are yet to come.
	Follow bool
	// Tail leaves out those that are there already; only with Follow.
	Tail bool
}

// Read gives each record of the log at path as the kernel writes it, see Parse. Following ends with the error of ctx.
func Read(ctx context.Context, path string, o Options, each func(record string) error) error {
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("open kernel log: %w", &os.PathError{Op: "open", Path: path, Err: err})
	}

	// The runtime's poller waits for more without a thread, and wakes at Close.
	file := os.NewFile(uintptr(fd), path)
	defer file.Close()

	if o.Tail {
		if _, err = unix.Seek(fd, 0, io.SeekEnd); err != nil {
			return fmt.Errorf("seek kernel log: %w", err)
		}
	}

	stop := context.AfterFunc(ctx, func() { file.Close() })
	defer stop()

	if !o.Follow {
		return readAll(fd, each)
	}

	return follow(ctx, file, each)
}

func readAll(fd int, each func(string) error) error {
	buffer := make([]byte, recordSize)

	for {
		n, err := unix.Read(fd, buffer)

		switch {
		case errors.Is(err, unix.EAGAIN), err == nil && n == 0:
			return nil
		case errors.Is(err, unix.EPIPE), errors.Is(err, unix.EINTR):
			continue // records were overwritten before they were read
		case err != nil:
			return fmt.Errorf("read kernel log: %w", err)
		}

		if err = each(string(buffer[:n])); err != nil {
			return err
		}
	}
}

func follow(ctx context.Context, file *os.File, each func(string) error) error {
	buffer := make([]byte, recordSize)

	for {
		n, err := file.Read(buffer)

		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case errors.Is(err, unix.EPIPE):
			continue
		case err != nil:
			return fmt.Errorf("read kernel log: %w", err)
		}

		if err = each(string(buffer[:n])); err != nil {
			return err
		}
	}
}
