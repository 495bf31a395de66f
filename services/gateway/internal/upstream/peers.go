package upstream

import (
	"context"
	"net"
	"net/netip"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/status"
)

const (
	// DialTimeout bounds the way to another node: name, connection and handshake.
	DialTimeout = 5 * time.Second
	// A gateway's listener outlives it, so it is back within its own start time.
	peerPatience = 3 * time.Second
	// Names come from callers, so the pool forgets: the least recently used beyond maxPeers.
	maxPeers = 512

	peerKeepalive        = 10 * time.Second
	peerKeepaliveTimeout = 5 * time.Second
)

// Peers are the connections to the gateways of other nodes.
type Peers struct {
	port    string
	creds   func(host string) credentials.TransportCredentials
	resolve func(ctx context.Context, host string) ([]netip.Addr, error)

	mu    sync.Mutex
	conns map[string]*pooled
}

type pooled struct {
	*Conn

	used time.Time
}

// NewPeers connects to other nodes on the given port; creds makes the credentials that expect the named host.
func NewPeers(
	port string,
	creds func(host string) credentials.TransportCredentials,
	resolve func(ctx context.Context, host string) ([]netip.Addr, error),
) *Peers {
	return &Peers{port: port, creds: creds, resolve: resolve, conns: map[string]*pooled{}}
}

// Get gives the connection to a node by its address or name.
func (p *Peers) Get(host string) (*Conn, error) {
	p.mu.Lock()
	defer p.mu.Unlock()

	if conn, ok := p.conns[host]; ok {
		conn.used = time.Now()

		return conn.Conn, nil
	}

	cc, err := grpc.NewClient("passthrough:///"+net.JoinHostPort(host, p.port), p.options(host)...)
	if err != nil {
		return nil, status.Errorf(codes.InvalidArgument, "node %q: %v", host, err)
	}

	conn := &Conn{name: host, cc: cc, patience: peerPatience, gone: func(err error) error {
		return status.Errorf(codes.Unavailable, "node %s: %s", host, status.Convert(err).Message())
	}}

	p.evict()
	p.conns[host] = &pooled{Conn: conn, used: time.Now()}

	return conn, nil
}

// Close ends every connection.
func (p *Peers) Close() {
	p.mu.Lock()
	defer p.mu.Unlock()

	for _, conn := range p.conns {
		_ = conn.cc.Close() //nolint:errcheck // the process ends
	}

	clear(p.conns)
}

func (p *Peers) evict() {
	if len(p.conns) < maxPeers {
		return
	}

	var oldest string

	for host, conn := range p.conns {
		if oldest == "" || conn.used.Before(p.conns[oldest].used) {
			oldest = host
		}
	}

	_ = p.conns[oldest].cc.Close() //nolint:errcheck // nobody has used it for long
	delete(p.conns, oldest)
}

func (p *Peers) options(host string) []grpc.DialOption {
	return []grpc.DialOption{
		grpc.WithTransportCredentials(p.creds(host)),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return p.dial(ctx, host) }),
		grpc.WithConnectParams(grpc.ConnectParams{
			Backoff:           backoff.Config{BaseDelay: 50 * time.Millisecond, Multiplier: 1.6, Jitter: 0.2, MaxDelay: time.Second},
			MinConnectTimeout: DialTimeout,
		}),
		grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: peerKeepalive, Timeout: peerKeepaliveTimeout}),
		grpc.WithDefaultCallOptions(callOptions()...),
		grpc.WithDisableRetry(),
		grpc.WithDisableServiceConfig(),
		grpc.WithNoProxy(),
		grpc.WithSharedWriteBuffer(true),
		grpc.WithStaticStreamWindowSize(streamWindow),
		grpc.WithStaticConnWindowSize(connWindow),
	}
}

// dial tries the addresses of a node in turn.
func (p *Peers) dial(ctx context.Context, host string) (net.Conn, error) {
	addresses, err := p.resolve(ctx, host)
	if err != nil {
		return nil, err
	}

	dialer := net.Dialer{Timeout: DialTimeout / time.Duration(max(1, len(addresses)))}

	var last error

	for _, address := range addresses {
		var conn net.Conn
		if conn, last = dialer.DialContext(ctx, "tcp", net.JoinHostPort(address.String(), p.port)); last == nil {
			return conn, nil
		}
	}

	return nil, last
}
