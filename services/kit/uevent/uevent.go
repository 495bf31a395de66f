// Package uevent listens to the kernel telling of devices that come and go.
package uevent

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// receiveBuffer holds what comes while modules are being loaded.
const receiveBuffer = 4 << 20

// Event is one change of a device.
type Event struct {
	Action, Path string
	Values       map[string]string
}

// Parse reads a message of the kernel: "add@/devices/…" and KEY=value, each ended by a zero byte.
func Parse(message []byte) (Event, bool) {
	fields := bytes.Split(message, []byte{0})

	action, path, found := strings.Cut(string(fields[0]), "@")
	if !found || action == "" || !strings.HasPrefix(path, "/") {
		return Event{}, false
	}

	event := Event{Action: action, Path: path, Values: map[string]string{}}

	for _, field := range fields[1:] {
		if key, value, ok := strings.Cut(string(field), "="); ok {
			event.Values[key] = value
		}
	}

	return event, true
}

// Socket receives events of the network namespace's kernel.
type Socket struct{ file *os.File }

// Open begins to listen: events from now on are kept until they are read.
func Open() (*Socket, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, unix.NETLINK_KOBJECT_UEVENT)
	if err != nil {
		return nil, fmt.Errorf("open device events: %w", err)
	}

	if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, receiveBuffer); err != nil {
		_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF, receiveBuffer)
	}

	// Group 1 is the kernel's own; others are for programs that pass events on.
	if err := unix.Bind(fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK, Groups: 1}); err != nil {
		return nil, errors.Join(fmt.Errorf("bind device events: %w", err), unix.Close(fd))
	}

	return &Socket{os.NewFile(uintptr(fd), "device events")}, nil
}

// ErrLost says that events came faster than they were read: what is there must be looked at again.
var ErrLost = errors.New("device events were lost")

// Run sends events until ctx ends; ErrLost is passed on in their place.
func (s *Socket) Run(ctx context.Context, each func(Event, error)) error {
	stop := context.AfterFunc(ctx, func() { _ = s.file.Close() })
	defer stop()
	defer s.file.Close()

	for buffer := make([]byte, 64<<10); ; {
		n, err := s.file.Read(buffer)

		switch {
		case ctx.Err() != nil:
			return nil
		case errors.Is(err, unix.ENOBUFS):
			each(Event{}, ErrLost)
		case err != nil:
			return fmt.Errorf("read device events: %w", err)
		default:
			if event, ok := Parse(buffer[:n]); ok {
				each(event, nil)
			}
		}
	}
}
