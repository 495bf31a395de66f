package rtnl

import (
	"context"
	"errors"
	"fmt"
	"syscall"
	"time"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// settle is how long the kernel must be quiet before a change is told, so that a batch of hundreds is one change;
// settleMax bounds it under a steady stream.
const (
	settle    = 2 * time.Millisecond
	settleMax = 50 * time.Millisecond
)

// Monitor calls changed whenever links, addresses or routes of the namespace have changed, until ctx ends. Bursts are
// one call. The subscription exists when Monitor returns, so a snapshot taken after it misses nothing.
type Monitor struct {
	conn *Conn
	nl   *netlink.Conn
	raw  syscall.RawConn
}

// Monitor opens the multicast subscription in the calling thread's network namespace, which is that of the connection. While it
// runs, Latest knows when a snapshot is old.
func (c *Conn) Monitor() (*Monitor, error) {
	nl, err := netlink.Dial(unix.NETLINK_ROUTE, &netlink.Config{
		Groups: unix.RTMGRP_LINK | unix.RTMGRP_IPV4_IFADDR | unix.RTMGRP_IPV6_IFADDR |
			unix.RTMGRP_IPV4_ROUTE | unix.RTMGRP_IPV6_ROUTE,
	})
	if err != nil {
		return nil, fmt.Errorf("subscribe to network changes: %w", err)
	}

	raw, err := nl.SyscallConn()
	if err != nil {
		return nil, errors.Join(fmt.Errorf("subscribe to network changes: %w", err), nl.Close())
	}

	return &Monitor{conn: c, nl: nl, raw: raw}, nil
}

// Run delivers until ctx ends; it closes the subscription.
func (m *Monitor) Run(ctx context.Context, changed func()) error {
	stop := context.AfterFunc(ctx, func() { _ = m.nl.SetReadDeadline(time.Unix(1, 0)) })
	defer stop()
	defer m.nl.Close()

	m.conn.latest.listen(m.catchUp, changed)
	defer m.conn.latest.listen(nil, nil)

	for {
		err := m.receive()

		switch {
		case ctx.Err() != nil:
			return nil
		case err != nil:
			return fmt.Errorf("receive network changes: %w", err)
		}

		m.conn.latest.drop()
		m.drain(ctx)
		changed()
	}
}

// receive waits for a message. What it says is of no interest; a full buffer (ENOBUFS) means that some were lost: a
// change like any other.
func (m *Monitor) receive() error {
	var err error

	if closed := m.raw.Read(func(fd uintptr) bool {
		err = takeMessage(fd)

		return !errors.Is(err, unix.EAGAIN)
	}); closed != nil {
		return closed
	}

	return err
}

// takeMessage gives EAGAIN when there is none.
func takeMessage(fd uintptr) error {
	for {
		_, _, err := unix.Recvfrom(int(fd), make([]byte, 1), unix.MSG_DONTWAIT)

		switch {
		case errors.Is(err, unix.EINTR):
		case errors.Is(err, unix.ENOBUFS):
			return nil
		default:
			return err
		}
	}
}

// catchUp takes the messages that wait and tells whether there were any: what they speak of is in a snapshot that begins now.
func (m *Monitor) catchUp() (any bool) {
	_ = m.raw.Control(func(fd uintptr) {
		for takeMessage(fd) == nil {
			any = true
		}
	})

	return any
}

func (m *Monitor) drain(ctx context.Context) {
	end := time.Now().Add(settleMax)

	for ctx.Err() == nil && time.Now().Before(end) {
		_ = m.nl.SetReadDeadline(time.Now().Add(settle))

		if m.receive() != nil {
			break
		}

		m.conn.latest.drop()
	}

	_ = m.nl.SetReadDeadline(time.Time{})

	// The end of ctx may have set its deadline just before it was cleared.
	if ctx.Err() != nil {
		_ = m.nl.SetReadDeadline(time.Unix(1, 0))
	}
}
