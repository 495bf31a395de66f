package endpoint

import (
	"net"
	"slices"
	"sync"

	"github.com/dactyl-os/dactyl/services/gateway/internal/caller"
)

// Places for connections that have not shown yet whose they are. A handshake takes some milliseconds: where they are all
// taken, who has waited longest says nothing and makes place.
const (
	originPlaces = 64
	allPlaces    = 256
)

// waiting is a listener that bounds the handshakes under way, of one address and of all.
type waiting struct {
	net.Listener

	mu sync.Mutex
	// conns are in the order of their coming.
	conns []*waitingConn
}

// waitingConn is a connection that has a place until its handshake is over.
type waitingConn struct {
	*net.TCPConn

	origin string
	places *waiting
}

// Bounded gives every connection of a listener a place for as long as it lasts: who has been there longest makes place.
func Bounded(listener net.Listener) net.Listener { return &waiting{Listener: listener} }

// Accept gives the next connection a place.
func (w *waiting) Accept() (net.Conn, error) {
	conn, err := w.Listener.Accept()
	if err != nil {
		return nil, err
	}

	tcp, ok := conn.(*net.TCPConn)
	if !ok {
		return conn, nil
	}

	own := &waitingConn{TCPConn: tcp, origin: caller.Origin(tcp.RemoteAddr()), places: w}
	w.enter(own)

	return own, nil
}

func (w *waiting) enter(conn *waitingConn) {
	w.mu.Lock()
	defer w.mu.Unlock()

	w.conns = append(w.conns, conn)
	same := func(other *waitingConn) bool { return other.origin == conn.origin }

	count := 0

	for _, other := range w.conns {
		if same(other) {
			count++
		}
	}

	switch {
	case count > originPlaces:
		w.displace(slices.IndexFunc(w.conns, same))
	case len(w.conns) > allPlaces:
		w.displace(0)
	}
}

func (w *waiting) displace(index int) {
	_ = w.conns[index].TCPConn.Close() // its handshake ends with it
	w.conns = slices.Delete(w.conns, index, index+1)
}

// known gives the place back.
func (c *waitingConn) known() {
	c.places.mu.Lock()
	defer c.places.mu.Unlock()

	if index := slices.Index(c.places.conns, c); index >= 0 {
		c.places.conns = slices.Delete(c.places.conns, index, index+1)
	}
}

// Close gives the place back, too.
func (c *waitingConn) Close() error {
	c.known()

	return c.TCPConn.Close()
}
