package qemu

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// dialTimeout bounds the wait for one backend: a machine that is down does not answer at all.
const dialTimeout = 3 * time.Second

// Balance takes connections at listener and passes each to one of the backends in turn, skipping those that are away.
func Balance(ctx context.Context, listener net.Listener, backends []string) error {
	stop := context.AfterFunc(ctx, func() { _ = listener.Close() })
	defer stop()

	var (
		next  atomic.Uint64
		conns sync.WaitGroup
	)

	defer conns.Wait()

	for {
		conn, err := listener.Accept()
		if err != nil {
			if ctx.Err() != nil || errors.Is(err, net.ErrClosed) {
				return nil
			}

			return fmt.Errorf("accept at %s: %w", listener.Addr(), err)
		}

		first := int(next.Add(1)) - 1

		conns.Go(func() { pass(ctx, conn, backends, first) })
	}
}

func pass(ctx context.Context, conn net.Conn, backends []string, first int) {
	defer conn.Close() // closed by the other end as well

	for i := range backends {
		dialer := net.Dialer{Timeout: dialTimeout}

		backend, err := dialer.DialContext(ctx, "tcp", backends[(first+i)%len(backends)])
		if err != nil {
			continue
		}

		join(ctx, conn, backend)

		return
	}
}

// join copies both ways; an end of one direction is passed on alone.
func join(ctx context.Context, a, b net.Conn) {
	stop := context.AfterFunc(ctx, func() { _, _ = a.Close(), b.Close() })
	defer stop()
	defer b.Close() // closed by the other end as well

	var both sync.WaitGroup

	for _, way := range [][2]net.Conn{{a, b}, {b, a}} {
		both.Go(func() {
			_, _ = io.Copy(way[0], way[1])

			if half, ok := way[0].(interface{ CloseWrite() error }); ok {
				_ = half.CloseWrite()
			}
		})
	}

	both.Wait()
}
