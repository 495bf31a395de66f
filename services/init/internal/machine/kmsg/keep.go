package kmsg

import (
	"context"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/dactyl-os/dactyl/services/kit/kmsg"
)

// Log is where the kernel's log is kept.
type Log interface {
	io.Writer
	Sync() error
}

// Keep copies the kernel's log, from its first line on, until ctx ends. Errors of the kernel are put on the disk at once:
// the next line may be the last.
func Keep(ctx context.Context, path string, log Log) error {
	err := kmsg.Read(ctx, path, kmsg.Options{Follow: true}, func(record string) error {
		line, urgent := Line(record)
		_, _ = log.Write([]byte(line))

		if urgent {
			_ = log.Sync()
		}

		return nil
	})
	if ctx.Err() != nil {
		return nil
	}

	return err
}

// Line makes a line of a record of /dev/kmsg: "[   12.345678] message", as consoles show it. Urgent are errors of the
// kernel itself.
func Line(record string) (line string, urgent bool) {
	r, ok := kmsg.Parse(record)
	if !ok {
		return strings.TrimRight(record, "\n") + "\n", false
	}

	return fmt.Sprintf("[%5d.%06d] %s\n", r.At/time.Second, r.At%time.Second/time.Microsecond, r.Message), r.Facility == 0 && r.Priority <= levelError
}
