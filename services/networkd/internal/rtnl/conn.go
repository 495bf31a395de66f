// Package rtnl is the only package of networkd that touches the kernel's network state: it reads all of it in one
// snapshot, carries out a plan's operations in batches, and tells when something changed.
package rtnl

import (
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/mdlayher/ethtool"
	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// answerTimeout bounds the wait for one answer of the kernel. That normally takes microseconds, but a virtual machine may
// get no processor time for seconds.
const answerTimeout = 20 * time.Second

// Conn talks to the kernel about one network namespace: that of the thread that made it.
type Conn struct {
	mu  sync.Mutex
	nl  *netlink.Conn
	eth *ethtool.Client // nil where the kernel has no ethtool netlink
	ioc int             // socket for ioctls

	timeout time.Duration
	late    bool // answers that nobody waited for may still be in nl
	buffer  []byte

	latest latest
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

	return &Conn{nl: nl, eth: eth, ioc: ioc, timeout: answerTimeout}, nil
}

// Close closes the sockets.
func (c *Conn) Close() error {
	if c.eth != nil {
		c.eth.Close()
	}

	unix.Close(c.ioc)

	return c.nl.Close()
}

// begin starts an exchange. What a timed out one before left in the socket would be taken for its answers.
func (c *Conn) begin() error {
	if c.late {
		if err := c.drain(); err != nil {
			return fmt.Errorf("drop late answers: %w", err)
		}

		c.late = false
	}

	return c.nl.SetDeadline(time.Now().Add(c.timeout))
}

func (c *Conn) drain() error {
	raw, err := c.nl.SyscallConn()
	if err != nil {
		return err
	}

	scratch := make([]byte, 1)

	closed := raw.Control(func(fd uintptr) {
		for err == nil || errors.Is(err, unix.EINTR) || errors.Is(err, unix.ENOBUFS) {
			_, _, err = unix.Recvfrom(int(fd), scratch, unix.MSG_DONTWAIT)
		}
	})

	if errors.Is(err, unix.EAGAIN) {
		err = nil
	}

	return errors.Join(closed, err)
}

// ofKernel tells whether an exchange came to its end, well or with an error of the kernel's own.
func ofKernel(err error) bool {
	var code unix.Errno

	return err == nil || errors.As(err, &code)
}
