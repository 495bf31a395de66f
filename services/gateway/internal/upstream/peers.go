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
	"google.golang.org/grpc/connectivity"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/status"
)

const (
	// DialTimeout bounds the way to another node: name, connection and handshake.
	DialTimeout = 5 * time.Second
	// A gateway's listener outlives it, so it is back within its own start time.
	peerPatience = 3 * time.Second
	// Names come from callers, so the pool forgets what is not used.
	unusedFor = time.Minute

	peerKeepalive        = 10 * time.Second
	peerKeepaliveTimeout = 5 * time.Second
)

// Dialer is who asks for a connection: Dial waits for a place among those that are being made.
type Dialer interface {
	Dial(ctx context.Context) (release func(), err error)
}

// Peers are the connections to the gateways of other nodes. One that has calls on it is never closed; one that nobody has
// used for a minute is, and one that leads nowhere at once.
type Peers struct {
	port    string
	creds   func(host string) credentials.TransportCredentials
	resolve func(ctx context.Context, host string) ([]netip.Addr, error)

	mu    sync.Mutex
	conns map[string]*pooled
	sweep *time.Timer
}

// pooled is a connection and who uses it.
type pooled struct {
	*Conn

	users  int
	unused time.Time
	// dropped is out of the pool and closed after its last call.
	dropped bool
}

// NewPeers connects to other nodes on the given port; creds makes the credentials that expect the named host.
func NewPeers(
	port string,
	creds func(host string) credentials.TransportCredentials,
	resolve func(ctx context.Context, host string) ([]netip.Addr, error),
) *Peers {
	return &Peers{port: port, creds: creds, resolve: resolve, conns: map[string]*pooled{}}
}

// Get gives the connection to a node by its address or name, until Conn.Done.
func (p *Peers) Get(ctx context.Context, host string, who Dialer) (*Conn, error) {
	if conn := p.take(host); conn != nil {
		return conn, nil
	}

	waiting, cancel := context.WithTimeout(ctx, DialTimeout)
	defer cancel()

	release, err := who.Dial(waiting)
	if err != nil {
		return nil, status.Errorf(codes.ResourceExhausted, "node %s: too many connections to other nodes are being made: try again later", host)
	}

	conn, err := p.open(host)
	if err != nil {
		release()

		return nil, err
	}

	go func() {
		defer release()

		settle(conn.cc)
	}()

	return conn.Conn, nil
}

// settle waits until a connection is made or given up.
func settle(cc *grpc.ClientConn) {
	ctx, cancel := context.WithTimeout(context.Background(), DialTimeout)
	defer cancel()

	cc.Connect()

	for state := cc.GetState(); state == connectivity.Idle || state == connectivity.Connecting; state = cc.GetState() {
		if !cc.WaitForStateChange(ctx, state) {
			return
		}
	}
}

// take gives a connection that is in the pool.
func (p *Peers) take(host string) *Conn {
	p.mu.Lock()
	defer p.mu.Unlock()

	conn, ok := p.conns[host]
	if !ok {
		return nil
	}

	conn.users++

	return conn.Conn
}

// open puts a connection into the pool unless somebody else was faster.
func (p *Peers) open(host string) (*pooled, error) {
	p.mu.Lock()
	defer p.mu.Unlock()

	if conn, ok := p.conns[host]; ok {
		conn.users++

		return conn, nil
	}

	cc, err := grpc.NewClient("passthrough:///"+net.JoinHostPort(host, p.port), p.options(host)...)
	if err != nil {
		return nil, status.Errorf(codes.InvalidArgument, "node %q: %v", host, err)
	}

	conn := &pooled{users: 1}
	conn.Conn = &Conn{name: "node " + host, cc: cc, patience: peerPatience, done: func() { p.put(host, conn) }, gone: func(err error) error {
		return status.Errorf(codes.Unavailable, "node %s: %s", host, status.Convert(err).Message())
	}}
	p.conns[host] = conn

	if p.sweep == nil {
		p.sweep = time.AfterFunc(unusedFor, p.forget)
	}

	return conn, nil
}

// put ends one use of a connection.
func (p *Peers) put(host string, conn *pooled) {
	p.mu.Lock()
	defer p.mu.Unlock()

	conn.users--
	conn.unused = time.Now()

	if conn.users > 0 {
		return
	}

	if state := conn.cc.GetState(); conn.dropped || state == connectivity.TransientFailure || state == connectivity.Connecting {
		p.drop(host, conn)
	}
}

// drop takes a connection out of the pool and closes it after its last call.
func (p *Peers) drop(host string, conn *pooled) {
	if p.conns[host] == conn {
		delete(p.conns, host)
	}

	conn.dropped = true

	if conn.users == 0 {
		_ = conn.cc.Close() // nobody uses it
	}
}

// forget drops what nobody has used for long, and comes again while there is anything.
func (p *Peers) forget() {
	p.mu.Lock()
	defer p.mu.Unlock()

	for host, conn := range p.conns {
		if conn.users == 0 && time.Since(conn.unused) >= unusedFor {
			p.drop(host, conn)
		}
	}

	if p.sweep = nil; len(p.conns) > 0 {
		p.sweep = time.AfterFunc(unusedFor/4, p.forget)
	}
}

// Renew has every call from now on use a new connection, as after a change of certificates.
func (p *Peers) Renew() {
	p.mu.Lock()
	defer p.mu.Unlock()

	for host, conn := range p.conns {
		p.drop(host, conn)
	}
}

// Close ends every connection.
func (p *Peers) Close() {
	p.mu.Lock()
	defer p.mu.Unlock()

	for _, conn := range p.conns {
		_ = conn.cc.Close() // the process ends
	}

	clear(p.conns)
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
