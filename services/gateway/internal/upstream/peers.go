package upstream

import (
	"context"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/connectivity"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/status"
)

const (
	// DialTimeout bounds the way to another node: connection and handshake.
	DialTimeout = 5 * time.Second
	// A gateway's listener outlives it, so it is back within its own start time.
	peerPatience = 3 * time.Second
	// Names come from callers, so the pool forgets what is not used.
	unusedFor = time.Minute
)

// Dialer is who asks for a connection: Dial waits for a place among those that are being made.
type Dialer interface {
	Dial(ctx context.Context) (release func(), err error)
}

// Resolve gives the addresses that a host has at this moment, and whether it is the name of a member.
type Resolve func(ctx context.Context, host string) (addresses []netip.Addr, member bool, err error)

// Peers are the connections to the gateways of other nodes, kept by what a caller's name for a node stands for at this moment.
// One that has calls on it is never closed; one that nobody has used for a minute is, and one that leads nowhere at once.
type Peers struct {
	port    string
	creds   func(host string) credentials.TransportCredentials
	resolve Resolve
	connect func(ctx context.Context, addresses []netip.Addr, port string) (net.Conn, error)
	// now and after are the clock.
	now   func() time.Time
	after func(d time.Duration, f func())

	mu       sync.Mutex
	conns    map[key]*pooled
	sweeping bool
}

// key is a node as the caller wrote it and where that leads.
type key struct{ host, addresses string }

// pooled is a connection and who uses it.
type pooled struct {
	*Conn

	users  int
	unused time.Time
	// dropped is out of the pool and closed after its last call.
	dropped bool
}

// NewPeers connects to other nodes on the given port; creds makes the credentials that expect the named host.
func NewPeers(port string, creds func(host string) credentials.TransportCredentials, resolve Resolve) *Peers {
	return &Peers{
		port: port, creds: creds, resolve: resolve, connect: connect, conns: map[key]*pooled{},
		now: time.Now, after: func(d time.Duration, f func()) { time.AfterFunc(d, f) },
	}
}

// Get gives the connection to a node by its address or name, until Conn.Done. Names are looked up each time: they change hands.
// member says that the host is the name of a member.
func (p *Peers) Get(ctx context.Context, host string, who Dialer) (conn *Conn, member bool, err error) {
	addresses, member, err := p.resolve(ctx, host)
	if err != nil {
		return nil, false, status.Errorf(status.Code(err), "node %s: %s", host, status.Convert(err).Message())
	}

	target := keyOf(host, addresses)

	if conn := p.take(target); conn != nil {
		return conn, member, nil
	}

	conn, err = p.make(ctx, target, addresses, who)

	return conn, member, err
}

// keyOf is the same whatever order a name server gives addresses in.
func keyOf(host string, addresses []netip.Addr) key {
	texts := make([]string, len(addresses))
	for i, address := range slices.SortedFunc(slices.Values(addresses), netip.Addr.Compare) {
		texts[i] = address.String()
	}

	return key{host, strings.Join(texts, " ")}
}

// make opens a connection when the caller may make one more.
func (p *Peers) make(ctx context.Context, target key, addresses []netip.Addr, who Dialer) (*Conn, error) {
	waiting, cancel := context.WithTimeout(ctx, DialTimeout)
	defer cancel()

	release, err := who.Dial(waiting)
	if err != nil {
		return nil, status.Errorf(codes.ResourceExhausted, "node %s: too many connections to other nodes are being made: try again later", target.host)
	}

	conn, err := p.open(target, addresses)
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
func (p *Peers) take(target key) *Conn {
	p.mu.Lock()
	defer p.mu.Unlock()

	conn, ok := p.conns[target]
	if !ok {
		return nil
	}

	conn.users++

	return conn.Conn
}

// open puts a connection into the pool unless somebody else was faster.
func (p *Peers) open(target key, addresses []netip.Addr) (*pooled, error) {
	p.mu.Lock()
	defer p.mu.Unlock()

	if conn, ok := p.conns[target]; ok {
		conn.users++

		return conn, nil
	}

	cc, err := grpc.NewClient("passthrough:///"+net.JoinHostPort(target.host, p.port), p.options(target.host, addresses)...)
	if err != nil {
		return nil, status.Errorf(codes.InvalidArgument, "node %q: %v", target.host, err)
	}

	conn := &pooled{users: 1}
	conn.Conn = &Conn{name: "node " + target.host, cc: cc, patience: peerPatience, Window: peerWindow, done: func() { p.put(target, conn) }, gone: func(err error) error {
		return status.Errorf(codes.Unavailable, "node %s: %s", target.host, status.Convert(err).Message())
	}}
	p.conns[target] = conn

	if !p.sweeping {
		p.sweeping = true
		p.after(unusedFor, p.forget)
	}

	return conn, nil
}

// put ends one use of a connection.
func (p *Peers) put(target key, conn *pooled) {
	p.mu.Lock()
	defer p.mu.Unlock()

	conn.users--
	conn.unused = p.now()

	if conn.users > 0 {
		return
	}

	if state := conn.cc.GetState(); conn.dropped || state == connectivity.TransientFailure || state == connectivity.Connecting {
		p.drop(target, conn)
	}
}

// drop takes a connection out of the pool and closes it after its last call.
func (p *Peers) drop(target key, conn *pooled) {
	if p.conns[target] == conn {
		delete(p.conns, target)
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

	for target, conn := range p.conns {
		if conn.users == 0 && p.now().Sub(conn.unused) >= unusedFor {
			p.drop(target, conn)
		}
	}

	if p.sweeping = len(p.conns) > 0; p.sweeping {
		p.after(unusedFor/4, p.forget)
	}
}

// Renew has every call from now on use a new connection, as after a change of certificates.
func (p *Peers) Renew() {
	p.mu.Lock()
	defer p.mu.Unlock()

	for target, conn := range p.conns {
		p.drop(target, conn)
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

func (p *Peers) options(host string, addresses []netip.Addr) []grpc.DialOption {
	return []grpc.DialOption{
		grpc.WithTransportCredentials(p.creds(host)),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return p.connect(ctx, addresses, p.port) }),
		grpc.WithConnectParams(grpc.ConnectParams{
			Backoff:           backoff.Config{BaseDelay: 50 * time.Millisecond, Multiplier: 1.6, Jitter: 0.2, MaxDelay: time.Second},
			MinConnectTimeout: DialTimeout,
		}),
		grpc.WithDefaultCallOptions(callOptions()...),
		grpc.WithDisableRetry(),
		grpc.WithDisableServiceConfig(),
		grpc.WithNoProxy(),
		grpc.WithStaticStreamWindowSize(peerWindow),
		grpc.WithStaticConnWindowSize(connWindow),
	}
}
