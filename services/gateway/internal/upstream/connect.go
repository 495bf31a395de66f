package upstream

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// A node that vanishes says nothing. It is told from one that is slow by its kernel, which answers for a stopped program, too:
// what is sent and not acknowledged for silentFor ends the connection, and a connection on which nothing moves is probed. With
// one more try to connect, callers are told within 5 s.
const (
	silentFor     = 2500 * time.Millisecond
	probeInterval = time.Second
	connectFor    = 1500 * time.Millisecond
	// stagger is how much later the next address of a node is tried, beside those before.
	stagger = 200 * time.Millisecond
)

// connect dials the addresses of a node and takes the first that answers.
func connect(ctx context.Context, addresses []netip.Addr, port string) (net.Conn, error) {
	if len(addresses) == 1 {
		return dialAfter(ctx, 0, addresses[0], port)
	}

	ctx, cancel := context.WithCancel(ctx)
	defer cancel()

	type result struct {
		conn net.Conn
		err  error
	}

	results := make(chan result)

	for i, address := range addresses {
		go func() {
			conn, err := dialAfter(ctx, time.Duration(i)*stagger, address, port)

			select {
			case results <- result{conn, err}:
			case <-ctx.Done():
				if conn != nil {
					_ = conn.Close() // another one was faster
				}
			}
		}()
	}

	err := errors.New("it has no address")

	for range addresses {
		select {
		case r := <-results:
			if err = r.err; err == nil {
				return r.conn, nil
			}
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}

	return nil, err
}

func dialAfter(ctx context.Context, pause time.Duration, address netip.Addr, port string) (net.Conn, error) {
	if pause > 0 {
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}

	dialer := net.Dialer{
		Timeout:         connectFor,
		KeepAliveConfig: net.KeepAliveConfig{Enable: true, Idle: probeInterval, Interval: probeInterval, Count: int(silentFor / probeInterval)},
		Control: func(_, _ string, raw syscall.RawConn) error {
			var failed error

			err := raw.Control(func(fd uintptr) {
				failed = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, int(silentFor.Milliseconds()))
			})

			return errors.Join(err, failed)
		},
	}

	return dialer.DialContext(ctx, "tcp", net.JoinHostPort(address.String(), port))
}
