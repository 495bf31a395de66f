package dial

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/balancer"
	"google.golang.org/grpc/balancer/pickfirst"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/connectivity"
	"google.golang.org/grpc/status"
)

// Stopped ends the name of the empty file that init puts beside a daemon's socket while the daemon does not start by itself,
// because it was stopped or given up: NAME.sock.stopped.
const Stopped = ".stopped"

// stoppedText ends the message of a call that a stopped daemon is not there to answer.
const stoppedText = "was stopped or given up on this node; see: service "

// StoppedError is what a call to a daemon gets that was stopped or given up: FailedPrecondition.
func StoppedError(name string) error {
	return status.Error(codes.FailedPrecondition, name+" "+stoppedText+name)
}

// IsStopped tells whether a call failed because its daemon was stopped or given up.
func IsStopped(err error) bool {
	return status.Code(err) == codes.FailedPrecondition && strings.Contains(status.Convert(err).Message(), stoppedText)
}

const (
	// policy is the load balancing policy of connections to daemons: gRPC's own for one address, with a look at Stopped.
	policy = "dactyl_socket"
	// lookInterval is how soon calls that wait for a daemon are told that it was stopped meanwhile.
	lookInterval = 100 * time.Millisecond
)

// register makes the policy known to gRPC.
var register = sync.OnceFunc(func() { balancer.Register(builder{balancer.Get(pickfirst.Name)}) })

type builder struct{ balancer.Builder }

// Name of the policy.
func (builder) Name() string { return policy }

// Build gives the policy of one connection.
func (b builder) Build(cc balancer.ClientConn, opts balancer.BuildOptions) balancer.Balancer {
	w := &watchful{ClientConn: cc}

	return &stoppable{b.Builder.Build(w, opts), w}
}

// stoppable is the policy of one connection.
type stoppable struct {
	balancer.Balancer

	watchful *watchful
}

// UpdateClientConnState tells where the socket is.
func (s *stoppable) UpdateClientConnState(state balancer.ClientConnState) error {
	for _, address := range state.ResolverState.Addresses {
		s.watchful.socket.Store(&address.Addr)
	}

	return s.Balancer.UpdateClientConnState(state)
}

// Close ends the watch for the file.
func (s *stoppable) Close() {
	s.watchful.close()
	s.Balancer.Close()
}

// watchful hands a connection's states on. While it is not ready, calls are refused when the daemon was stopped, those that
// wait already too.
type watchful struct {
	balancer.ClientConn

	socket atomic.Pointer[string]

	mu     sync.Mutex
	state  balancer.State
	timer  *time.Timer // runs while a call waits
	closed bool
}

// UpdateState takes a new state of the connection.
func (w *watchful) UpdateState(state balancer.State) {
	w.mu.Lock()
	defer w.mu.Unlock()

	if state.ConnectivityState != connectivity.Ready {
		state.Picker = careful{state.Picker, w}
	}

	w.state = state
	w.ClientConn.UpdateState(state)
}

// stopped tells whether the daemon was stopped.
func (w *watchful) stopped() bool {
	socket := w.socket.Load()
	if socket == nil {
		return false
	}

	_, err := os.Lstat(*socket + Stopped)

	return err == nil
}

// waits notes that a call waits.
func (w *watchful) waits() {
	w.mu.Lock()
	defer w.mu.Unlock()

	if w.timer == nil && !w.closed {
		w.timer = time.AfterFunc(lookInterval, w.look)
	}
}

// look lets the calls that wait pick again when the daemon was stopped.
func (w *watchful) look() {
	w.mu.Lock()
	defer w.mu.Unlock()

	w.timer = nil

	switch {
	case w.closed || w.state.ConnectivityState == connectivity.Ready || w.state.ConnectivityState == connectivity.Idle:
	case w.stopped():
		w.ClientConn.UpdateState(w.state)
	default:
		w.timer = time.AfterFunc(lookInterval, w.look)
	}
}

func (w *watchful) close() {
	w.mu.Lock()
	defer w.mu.Unlock()

	w.closed = true

	if w.timer != nil {
		w.timer.Stop()
	}
}

// careful is the picker of a connection that is not ready.
type careful struct {
	balancer.Picker

	watchful *watchful
}

// Pick refuses when the daemon was stopped. The code is one that a policy may use; the interceptors put the right one in its
// place.
func (c careful) Pick(info balancer.PickInfo) (balancer.PickResult, error) {
	if c.watchful.stopped() {
		return balancer.PickResult{}, status.Error(codes.Unavailable, stoppedText+nameOf(*c.watchful.socket.Load()))
	}

	c.watchful.waits()

	return c.Picker.Pick(info)
}

// nameOf is the name of the daemon whose socket it is.
func nameOf(socket string) string { return strings.TrimSuffix(filepath.Base(socket), ".sock") }

// stopped puts the code in place that says best what happened.
func stopped(err error) error {
	if status.Code(err) != codes.Unavailable {
		return err
	}

	if name, ok := strings.CutPrefix(status.Convert(err).Message(), stoppedText); ok {
		return StoppedError(name)
	}

	return err
}

func unaryStopped(ctx context.Context, method string, req, reply any, cc *grpc.ClientConn, invoke grpc.UnaryInvoker, opts ...grpc.CallOption) error {
	return stopped(invoke(ctx, method, req, reply, cc, opts...))
}

func streamStopped(ctx context.Context, desc *grpc.StreamDesc, cc *grpc.ClientConn, method string, open grpc.Streamer, opts ...grpc.CallOption) (grpc.ClientStream, error) {
	stream, err := open(ctx, desc, cc, method, opts...)

	return stream, stopped(err)
}

// balancing is the part of the service configuration that chooses the policy.
func balancing() []map[string]any { return []map[string]any{{policy: map[string]any{}}} }
