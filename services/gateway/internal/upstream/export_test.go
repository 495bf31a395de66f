package upstream

import (
	"context"
	"net"
	"net/netip"
	"time"
)

// Pooled counts the connections to other nodes that are kept.
func Pooled(p *Peers) int {
	p.mu.Lock()
	defer p.mu.Unlock()

	return len(p.conns)
}

// SetClock makes time what a test says.
func SetClock(p *Peers, now func() time.Time, after func(time.Duration, func())) {
	p.now, p.after = now, after
}

// UnusedFor is how long a connection is kept that nobody uses.
const UnusedFor = unusedFor

// Within has connections made in f, such as in a network namespace.
func Within(p *Peers, run func(f func())) {
	p.connect = func(ctx context.Context, addresses []netip.Addr, port string) (conn net.Conn, err error) {
		run(func() { conn, err = connect(ctx, addresses, port) })

		return conn, err
	}
}
