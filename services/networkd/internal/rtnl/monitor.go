package rtnl

import (
	"context"
	"errors"
	"fmt"
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
// one call. The subscription exists when Subscribe returns, so a snapshot taken after it misses nothing.
type Monitor struct{ nl *netlink.Conn }

// Subscribe opens the multicast subscription in the calling thread's network namespace.
func Subscribe() (*Monitor, error) {
	nl, err := netlink.Dial(unix.NETLINK_ROUTE, &netlink.Config{
		Groups: unix.RTMGRP_LINK | unix.RTMGRP_IPV4_IFADDR | unix.RTMGRP_IPV6_IFADDR |
			unix.RTMGRP_IPV4_ROUTE | unix.RTMGRP_IPV6_ROUTE,
	})
	if err != nil {
		return nil, fmt.Errorf("subscribe to network changes: %w", err)
	}

	return &Monitor{nl: nl}, nil
}

// Run delivers until ctx ends; it closes the subscription.
func (m *Monitor) Run(ctx context.Context, changed func()) error {
	stop := context.AfterFunc(ctx, func() { _ = m.nl.SetReadDeadline(time.Unix(1, 0)) })
	defer stop()
	defer m.nl.Close()

	for {
		if err := m.wait(ctx); err != nil {
			return err
		}

		if ctx.Err() != nil {
			return nil
		}

		m.drain(ctx)
		changed()
	}
}

// wait blocks until something changed. A full buffer (ENOBUFS) means that messages were lost: a change like any other.
func (m *Monitor) wait(ctx context.Context) error {
	_, err := m.nl.Receive()
	if err == nil || ctx.Err() != nil || isOverrun(err) {
		return nil
	}

	return fmt.Errorf("receive network changes: %w", err)
}

func (m *Monitor) drain(ctx context.Context) {
	end := time.Now().Add(settleMax)

	for ctx.Err() == nil && time.Now().Before(end) {
		_ = m.nl.SetReadDeadline(time.Now().Add(settle))

		if _, err := m.nl.Receive(); err != nil && !isOverrun(err) {
			break
		}
	}

	_ = m.nl.SetReadDeadline(time.Time{})

	// The end of ctx may have set its deadline just before it was cleared.
	if ctx.Err() != nil {
		_ = m.nl.SetReadDeadline(time.Unix(1, 0))
	}
}

func isOverrun(err error) bool { return errors.Is(err, unix.ENOBUFS) }
