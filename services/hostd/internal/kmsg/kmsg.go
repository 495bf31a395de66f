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

var priorities = [...]string{"emerg", "alert", "crit", "err", "warning", "notice", "info", "debug"}

var facilities = [...]string{
	"kern", "user", "mail", "daemon", "auth", "syslog", "lpr", "news", "uucp", "cron", "authpriv", "ftp",
	"ntp", "audit", "alert", "clock", "local0", "local1", "local2", "local3", "local4", "local5", "local6", "local7",
}

// Options of a read.
type Options struct {
	// Follow goes on with records that are yet to come.
	Follow bool
	// Tail leaves out those that are there already; only with Follow.
	Tail bool
}

// Read sends one line for each record of the log at path.
func Read(ctx context.Context, path string, o Options, send func(string) error) error {
	boot, err := bootTime()
	if err != nil {
		return err
	}

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
		return readAll(fd, boot, send)
	}

	return follow(ctx, file, boot, send)
}

func readAll(fd int, boot time.Time, send func(string) error) error {
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

		if err = send(Format(string(buffer[:n]), boot)); err != nil {
			return err
		}
	}
}

func follow(ctx context.Context, file *os.File, boot time.Time, send func(string) error) error {
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

		if err = send(Format(string(buffer[:n]), boot)); err != nil {
			return err
		}
	}
}

// Format makes a line of a record: "kern: warning: [2024-01-02T03:04:05.678Z]: message". What is no record stays as it is.
func Format(record string, boot time.Time) string {
	head, message, ok := strings.Cut(record, ";")
	fields := strings.Split(head, ",")

	if !ok || len(fields) < 3 {
		return record
	}

	priority, err1 := strconv.ParseUint(fields[0], 10, 8)
	micros, err2 := strconv.ParseInt(fields[2], 10, 64)

	if err1 != nil || err2 != nil {
		return record
	}

	// Lines that begin with a blank are a dictionary for machines.
	message, _, _ = strings.Cut(message, "\n")

	facility := "unknown"
	if f := priority >> 3; f < uint64(len(facilities)) {
		facility = facilities[f]
	}

	at := boot.Add(time.Duration(micros) * time.Microsecond).UTC()

	return fmt.Sprintf("%s: %7s: [%s]: %s\n", facility, priorities[priority&7], at.Format(time.RFC3339Nano), message)
}

func bootTime() (time.Time, error) {
	var since unix.Timespec
	// The log's clock stops while the machine sleeps.
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &since); err != nil {
		return time.Time{}, fmt.Errorf("read monotonic clock: %w", err)
	}

	return time.Now().Add(-time.Duration(since.Nano())), nil
}
