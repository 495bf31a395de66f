package rtnl

import (
	"errors"
	"os"
	"testing"
	"time"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"

	"github.com/dactyl-os/dactyl/services/kit/kittest"
)

// TestLateAnswersAreDropped: what timed out once does not spoil what comes after.
func TestLateAnswersAreDropped(t *testing.T) {
	kittest.RequireRoot(t)

	var (
		c   *Conn
		err error
	)

	kittest.NetNS(t).Run(func() { c, err = Dial() })

	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()

	for range 3 {
		c.timeout = -time.Second

		if _, err := c.Snapshot(); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Fatalf("no time at all: %v", err)
		}

		c.timeout = answerTimeout

		if err := c.begin(); err != nil {
			t.Fatal(err)
		}

		for _, kind := range []netlink.HeaderType{unix.RTM_GETLINK, unix.RTM_NEWLINK} { // answered by many messages, by an error
			if _, err := c.nl.Send(netlink.Message{Header: netlink.Header{Type: kind, Flags: netlink.Request | netlink.Dump}, Data: make([]byte, 16)}); err != nil {
				t.Fatal(err)
			}
		}

		c.late = true

		if s, err := c.Snapshot(); err != nil || len(s.Links) != 1 {
			t.Fatalf("with time again: %v, %d links", err, len(s.Links))
		}
	}
}
