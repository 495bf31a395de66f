package delivery

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/url"
	"strconv"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	hostkmsg "github.com/dactyl-os/dactyl/services/hostd/internal/kmsg"
	"github.com/dactyl-os/dactyl/services/kit/kmsg"
)

// Kernel sends the kernel's log to one receiver, each record as a JSON object: over TCP a line, over UDP a packet.
type Kernel struct {
	// Path of the log, /dev/kmsg.
	Path string
	// Destination is tcp://HOST:PORT or udp://HOST:PORT.
	Destination *url.URL
	// Sent is a file for the number of the last record that arrived.
	Sent string
	Log  *slog.Logger
}

// line is a record in the words of the contract.
type line struct {
	Message  string    `json:"msg"`
	Level    string    `json:"talos-level"`
	Time     time.Time `json:"talos-time"`
	Facility string    `json:"facility"`
	Priority string    `json:"priority"`
	Sequence uint64    `json:"seq"`
	Clock    int64     `json:"clock"` // microseconds since the boot
}

// levels are those of priorities.
var levels = [...]string{"error", "error", "error", "error", "warn", "info", "info", "debug"}

// Run until ctx ends.
func (k *Kernel) Run(ctx context.Context) {
	sent := openMark(k.Sent)

	keep(ctx, k.Log, "the kernel's log", k.Destination.String(), func(ctx context.Context) error {
		defer sent.save()

		return k.session(ctx, sent)
	})
}

// session sends over one connection what comes after the mark. Records that the receiver's kernel has not confirmed stay behind
// the mark, and are sent again over the next connection.
func (k *Kernel) session(ctx context.Context, sent *mark) error {
	boot, err := hostkmsg.BootTime()
	if err != nil {
		return err
	}

	dialer := net.Dialer{Timeout: sendWithin}

	conn, err := dialer.DialContext(ctx, k.Destination.Scheme, k.Destination.Host)
	if err != nil {
		return err
	}
	defer conn.Close()

	ctx, end := context.WithCancelCause(ctx)
	defer end(nil)

	// A receiver has nothing to say: a read ends when it goes away.
	go func() {
		_, err := io.Copy(io.Discard, conn)
		end(fmt.Errorf("the receiver went away: %w", orEOF(err)))
	}()

	after, err := strconv.ParseUint(sent.value, 10, 64)
	all := err != nil

	err = kmsg.Read(ctx, k.Path, kmsg.Options{Follow: true}, func(text string) error {
		record, ok := kmsg.Parse(text)
		if !ok || !all && record.Sequence <= after {
			return nil
		}

		if err := write(conn, record, boot); err != nil {
			return err
		}

		if confirmed(conn) {
			sent.set(strconv.FormatUint(record.Sequence, 10))
		}

		return nil
	})
	if cause := context.Cause(ctx); cause != nil {
		return cause
	}

	return err
}

func orEOF(err error) error {
	if err == nil {
		return io.EOF
	}

	return err
}

func write(conn net.Conn, r kmsg.Record, boot time.Time) error {
	text, err := json.Marshal(line{
		Message: r.Message, Level: levels[r.Priority], Time: boot.Add(r.At).UTC(), Facility: hostkmsg.Facility(r.Facility),
		Priority: hostkmsg.Priority(r.Priority), Sequence: r.Sequence, Clock: r.At.Microseconds(),
	})
	if err != nil {
		return err
	}

	if err := conn.SetWriteDeadline(time.Now().Add(sendWithin)); err != nil {
		return err
	}

	_, err = conn.Write(append(text, '\n'))

	return err
}

// confirmed tells that the other side's kernel has all that was written. UDP confirms nothing.
func confirmed(conn net.Conn) bool {
	raw, ok := conn.(*net.TCPConn)
	if !ok {
		return true
	}

	control, err := raw.SyscallConn()
	if err != nil {
		return false
	}

	left := -1

	if control.Control(func(fd uintptr) { left, err = unix.IoctlGetInt(int(fd), syscall.TIOCOUTQ) }) != nil || err != nil {
		return false
	}

	return left == 0
}
