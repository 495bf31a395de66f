package upstream_test

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/dactyl-os/dactyl/services/gateway/internal/fake"
	"github.com/dactyl-os/dactyl/services/gateway/internal/raw"
	"github.com/dactyl-os/dactyl/services/gateway/internal/upstream"
	"github.com/dactyl-os/dactyl/services/kit/kittest"
)

// free has a place for every connection.
type free struct{}

func (free) Dial(context.Context) (func(), error) { return func() {}, nil }

// counted is a listener that keeps and counts what it accepted.
type counted struct {
	*net.TCPListener

	count atomic.Int32
	conns chan *net.TCPConn
}

func (c *counted) Accept() (net.Conn, error) {
	conn, err := c.AcceptTCP()
	if err != nil {
		return nil, err
	}

	c.count.Add(1)
	c.conns <- conn

	return conn, nil
}

// otherNode serves as another node's gateway does; its answers tell its name.
func otherNode(t *testing.T, name, address string) *counted {
	t.Helper()

	listener, err := net.Listen("tcp", address)
	if err != nil {
		t.Fatal(err)
	}

	return serveNode(t, name, listener)
}

func serveNode(t *testing.T, name string, listener net.Listener) *counted {
	t.Helper()

	c := &counted{TCPListener: listener.(*net.TCPListener), conns: make(chan *net.TCPConn, 64)} //nolint:forcetypeassert // of network tcp
	server := fake.NewOwner(name)

	go func() { _ = server.Serve(c) }()

	t.Cleanup(server.Stop)

	return c
}

func portOf(l net.Listener) string {
	_, port, _ := net.SplitHostPort(l.Addr().String())

	return port
}

// literal resolves addresses only.
func literal(_ context.Context, host string) ([]netip.Addr, bool, error) {
	address, err := netip.ParseAddr(host)

	return []netip.Addr{address}, false, err
}

func newPeers(t *testing.T, port string, resolve upstream.Resolve) *upstream.Peers {
	t.Helper()

	peers := upstream.NewPeers(port, func(string) credentials.TransportCredentials { return insecure.NewCredentials() }, resolve)
	t.Cleanup(peers.Close)

	return peers
}

// use makes one call and gives the name of who answered.
func use(t *testing.T, peers *upstream.Peers, host string) (string, error) {
	t.Helper()

	conn, _, err := peers.Get(t.Context(), host, free{})
	if err != nil {
		return "", err
	}

	defer conn.Done()

	answer, err := conn.Invoke(bounded(t, 20*time.Second), hostname, raw.FromBytes(nil), true)

	return strings.Join(answer.Header[fake.OwnerKey], ""), err
}

func TestPeerThatIsDown(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}

	port := portOf(listener)
	_ = listener.Close()

	peers := newPeers(t, port, func(context.Context, string) ([]netip.Addr, bool, error) {
		return []netip.Addr{netip.MustParseAddr("127.0.0.1")}, true, nil
	})
	begin := time.Now()

	_, err = use(t, peers, "some-node")
	if status.Code(err) != codes.Unavailable || !strings.Contains(err.Error(), "node some-node") || !strings.Contains(err.Error(), "refused") {
		t.Errorf("got %v", err)
	}

	if took := time.Since(begin); took > upstream.DialTimeout {
		t.Errorf("took %s", took)
	}
}

// TestPeersAreForgotten counts the connections that a node gets.
func TestPeersAreForgotten(t *testing.T) {
	node := otherNode(t, "networkd", "127.0.0.1:0")
	peers := newPeers(t, portOf(node), literal)

	for range 2 {
		if _, err := use(t, peers, "127.0.0.1"); err != nil {
			t.Fatal(err)
		}
	}

	if got := node.count.Swap(0); got != 1 {
		t.Errorf("two calls made %d connections", got)
	}

	// A call that goes on keeps its connection when the certificates change, the next one makes its own.
	conn, _, err := peers.Get(t.Context(), "127.0.0.1", free{})
	if err != nil {
		t.Fatal(err)
	}

	peers.Renew()

	if err := invoke(bounded(t, 10*time.Second), conn, false); err != nil || node.count.Load() != 0 {
		t.Errorf("a call on a connection that is to go: %v", err)
	}

	old := <-node.conns

	conn.Done()
	awaitClosed(t, old)

	if _, err := use(t, peers, "127.0.0.1"); err != nil || node.count.Swap(0) != 1 {
		t.Errorf("after the change of certificates: %v", err)
	}

	// Nobody is there: what led nowhere is not kept and not tried again by itself.
	if _, err := use(t, peers, "127.0.0.9"); err == nil {
		t.Fatal("127.0.0.9 answers")
	}

	if got := upstream.Pooled(peers); got != 1 {
		t.Errorf("%d connections are kept, want the one that is good", got)
	}
}

// awaitClosed waits until the server has closed its side, as it does when its client is gone.
func awaitClosed(t *testing.T, conn *net.TCPConn) {
	t.Helper()

	for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); time.Sleep(time.Millisecond) {
		if err := conn.SetDeadline(time.Time{}); errors.Is(err, net.ErrClosed) {
			return
		}
	}

	t.Error("the connection is still open")
}

// TestUnusedPeerIsClosed: a minute after its last call, not before, and not while it has one.
func TestUnusedPeerIsClosed(t *testing.T) {
	node := otherNode(t, "networkd", "127.0.0.1:0")
	peers := newPeers(t, portOf(node), literal)

	now := time.Now()

	var sweep func()

	upstream.SetClock(peers, func() time.Time { return now }, func(_ time.Duration, f func()) { sweep = f })

	if _, err := use(t, peers, "127.0.0.1"); err != nil {
		t.Fatal(err)
	}

	now = now.Add(upstream.UnusedFor - time.Second)
	sweep()

	if upstream.Pooled(peers) != 1 {
		t.Error("closed before its time")
	}

	conn, _, err := peers.Get(t.Context(), "127.0.0.1", free{})
	if err != nil {
		t.Fatal(err)
	}

	now = now.Add(2 * upstream.UnusedFor)
	sweep()

	if upstream.Pooled(peers) != 1 {
		t.Error("closed while it is used")
	}

	conn.Done()

	now = now.Add(upstream.UnusedFor)
	sweep()

	if upstream.Pooled(peers) != 0 {
		t.Error("still there a minute after its last use")
	}

	awaitClosed(t, <-node.conns)
}

// TestNamesAreLookedUpForEachCall: two nodes swap their names, one of them leaves.
func TestNamesAreLookedUpForEachCall(t *testing.T) {
	first := otherNode(t, "first", "127.0.0.2:0")
	otherNode(t, "second", "127.0.0.3:"+portOf(first))

	names := map[string]string{"alpha": "127.0.0.2", "beta": "127.0.0.3"}
	peers := newPeers(t, portOf(first), func(_ context.Context, host string) ([]netip.Addr, bool, error) {
		if names[host] == "" {
			return nil, false, status.Error(codes.FailedPrecondition, "no such name")
		}

		return []netip.Addr{netip.MustParseAddr(names[host])}, true, nil
	})

	for name, want := range map[string]string{"alpha": "first", "beta": "second"} {
		if got, err := use(t, peers, name); got != want {
			t.Errorf("%s: %s answered, %v", name, got, err)
		}
	}

	names["alpha"], names["beta"] = names["beta"], names["alpha"]

	for name, want := range map[string]string{"alpha": "second", "beta": "first"} {
		if got, err := use(t, peers, name); got != want {
			t.Errorf("after the swap %s: %s answered, %v", name, got, err)
		}
	}

	delete(names, "beta")

	if got, err := use(t, peers, "beta"); status.Code(err) != codes.FailedPrecondition || !strings.Contains(err.Error(), "node beta") {
		t.Errorf("a name that nobody has: %s answered, %v", got, err)
	}
}

// TestNodeThatVanishes: its cable is cut. Callers learn it within 5 s: on a connection that is there, waiting for an answer or
// not, and on a new one.
func TestNodeThatVanishes(t *testing.T) {
	lan := kittest.LAN(t, 2)

	var (
		listener net.Listener
		err      error
	)

	if lan[0].Run(func() { listener, err = net.Listen("tcp", "10.5.0.2:0") }); err != nil {
		t.Fatal(err)
	}

	peers := newPeers(t, portOf(serveNode(t, "networkd", listener)), literal)
	upstream.Within(peers, lan[1].Run)

	if _, err := use(t, peers, "10.5.0.2"); err != nil {
		t.Fatal(err)
	}

	conn, _, err := peers.Get(t.Context(), "10.5.0.2", free{})
	if err != nil {
		t.Fatal(err)
	}

	defer conn.Done()

	// Its request is acknowledged long before the node vanishes.
	waiting := make(chan error, 1)

	go func() {
		ctx := metadata.AppendToOutgoingContext(bounded(t, time.Minute), fake.DelayKey, "1m")
		waiting <- invoke(ctx, conn, true)
	}()

	stream, err := conn.Open(metadata.AppendToOutgoingContext(bounded(t, time.Minute), fake.StallKey, "1"),
		&grpc.StreamDesc{ServerStreams: true}, "/machine.MachineService/Dmesg")
	if err != nil {
		t.Fatal(err)
	}

	if err := errors.Join(stream.SendMsg(raw.FromBytes(nil)), stream.CloseSend()); err != nil {
		t.Fatal(err)
	}

	if err := stream.RecvMsg(new(raw.Frame)); err != nil {
		t.Fatal(err)
	}

	lan[0].Exec("ip", "link", "set", "eth0", "down")

	begin := time.Now()
	told := func(what string, err error) {
		t.Helper()

		took := time.Since(begin)
		t.Logf("%s: after %s: %v", what, took.Round(time.Millisecond), err)

		if took > 5*time.Second || status.Code(err) != codes.Unavailable {
			t.Errorf("%s: after %s: %v", what, took, err)
		}
	}

	fresh := make(chan error, 1)

	go func() {
		_, err := use(t, peers, "10.5.0.2")
		fresh <- err
	}()

	told("open stream", stream.RecvMsg(new(raw.Frame)))
	told("new call", <-fresh)
	told("waiting call", <-waiting)

	begin = time.Now()
	_, err = use(t, peers, "10.5.0.2")
	told("new connection", err)
}
