// Package rtnl is the only package of networkd that touches the kernel's network state: it reads all of it in one
// snapshot, carries out a plan's operations in batches, and tells when something changed.
package rtnl

import (
	"fmt"
	"sync"
	"time"

	"github.com/mdlayher/ethtool"
	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// answerTimeout bounds the wait for one answer of the kernel, which normally takes microseconds.
const answerTimeout = 5 * time.Second

// Conn talks to the kernel about one network namespace: that of the thread that made it.
type Conn struct {
	mu  sync.Mutex
	nl  *netlink.Conn
	eth *ethtool.Client // nil where the kernel has no ethtool netlink
	ioc int             // socket for ioctls
}

// Dial opens the sockets in the calling thread's network namespace.
func Dial() (*Conn, error) {
	nl, err := netlink.Dial(unix.NETLINK_ROUTE, nil)
	if err != nil {
		return nil, fmt.Errorf("open rtnetlink socket: %w", err)
	}

	// The kernel's own words beside the error number; old kernels have none.
	_ = nl.SetOption(netlink.ExtendedAcknowledge, true)

	ioc, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		nl.Close()

		return nil, fmt.Errorf("open socket for link details: %w", err)
	}

	// Speed and duplex are worth having, not worth failing for.
	eth, err := ethtool.New()
	if err != nil {
		eth = nil
	}

	return &Conn{nl: nl, eth: eth, ioc: ioc}, nil
}

// Close closes the sockets.
func (c *Conn) Close() error {
	if c.eth != nil {
		c.eth.Close()
	}

	unix.Close(c.ioc)

	return c.nl.Close()
}

// dump asks for all objects of one kind. header is the kind's zero message.
func (c *Conn) dump(kind netlink.HeaderType, header []byte) ([]netlink.Message, error) {
	c.mu.Lock()
	defer c.mu.Unlock()

	if err := c.nl.SetDeadline(time.Now().Add(answerTimeout)); err != nil {
		return nil, err
	}

	return c.nl.Execute(netlink.Message{
		Header: netlink.Header{Type: kind, Flags: netlink.Request | netlink.Dump},
		Data:   header,
	})
}
