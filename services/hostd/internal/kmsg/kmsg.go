// Package kmsg tells the kernel's log in lines for people.
package kmsg

import (
	"context"
	"fmt"
	"time"

	"golang.org/x/sys/unix"

	"github.com/dactyl-os/dactyl/services/kit/kmsg"
)

var priorities = [...]string{"emerg", "alert", "crit", "err", "warning", "notice", "info", "debug"}

var facilities = [...]string{
	"kern", "user", "mail", "daemon", "auth", "syslog", "lpr", "news", "uucp", "cron", "authpriv", "ftp",
	"ntp", "audit", "alert", "clock", "local0", "local1", "local2", "local3", "local4", "local5", "local6", "local7",
}

// Read sends one line for each record of the log at path.
func Read(ctx context.Context, path string, o kmsg.Options, send func(string) error) error {
	boot, err := BootTime()
	if err != nil {
		return err
	}

	return kmsg.Read(ctx, path, o, func(record string) error { return send(Format(record, boot)) })
}

// Format makes a line of a record: "kern: warning: [2024-01-02T03:04:05.678Z]: message". What is no record stays as it is.
func Format(record string, boot time.Time) string {
	r, ok := kmsg.Parse(record)
	if !ok {
		return record
	}

	at := boot.Add(r.At).UTC()

	return fmt.Sprintf("%s: %7s: [%s]: %s\n", Facility(r.Facility), Priority(r.Priority), at.Format(time.RFC3339Nano), r.Message)
}

// BootTime is the beginning of the kernel log's clock.
func BootTime() (time.Time, error) {
	var since unix.Timespec
	// The log's clock stops while the machine sleeps.
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &since); err != nil {
		return time.Time{}, fmt.Errorf("read monotonic clock: %w", err)
	}

	return time.Now().Add(-time.Duration(since.Nano())), nil
}

// Facility is the name of a facility's number, as in syslog(3).
func Facility(number int) string {
	if number >= 0 && number < len(facilities) {
		return facilities[number]
	}

	return "unknown"
}

// Priority is the name of a priority, 0 to 7.
func Priority(number int) string { return priorities[number&7] }
