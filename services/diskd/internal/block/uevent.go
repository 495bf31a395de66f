package block

import (
	"bytes"
	"context"
	"fmt"

	"golang.org/x/sys/unix"
)

// Uevents calls changed for each event of a block device, until ctx ends. Events that are lost do no harm: the disks are
// looked at from time to time anyway.
func Uevents(ctx context.Context, changed func()) error {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, unix.NETLINK_KOBJECT_UEVENT)
	if err != nil {
		return fmt.Errorf("open uevent socket: %w", err)
	}

	defer unix.Close(fd) //nolint:errcheck // nothing is written

	if err := unix.Bind(fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK, Groups: 1}); err != nil {
		return fmt.Errorf("bind uevent socket: %w", err)
	}

	// The receive ends once a second, so that the end of ctx is noticed.
	if err := unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Sec: 1}); err != nil {
		return fmt.Errorf("set time-out of uevent socket: %w", err)
	}

	buffer := make([]byte, 8<<10)

	for ctx.Err() == nil {
		n, _, err := unix.Recvfrom(fd, buffer, 0)

		switch err {
		case nil:
			if bytes.Contains(buffer[:n], []byte("SUBSYSTEM=block\x00")) {
				changed()
			}
		case unix.EAGAIN, unix.EINTR:
		case unix.ENOBUFS:
			changed()
		default:
			return fmt.Errorf("read uevents: %w", err)
		}
	}

	return nil
}
