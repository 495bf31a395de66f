package upstream

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/connectivity"
	"google.golang.org/grpc/status"

	"github.com/dactyl-os/dactyl/services/gateway/internal/raw"
	"github.com/dactyl-os/dactyl/services/kit/dial"
)

// A restarting daemon is back in well under a second; one that crashes again and again is parked by init in about this.
const daemonPatience = 10 * time.Second

// Daemons are the connections to the daemons of this node.
type Daemons struct {
	runDir string

	mu    sync.RWMutex
	conns map[string]*Conn
}

// NewDaemons connects to the sockets in runDir when they are asked for.
func NewDaemons(runDir string) *Daemons {
	return &Daemons{runDir: runDir, conns: map[string]*Conn{}}
}

// Get gives the connection to a daemon, or Unimplemented when this node does not run it.
func (d *Daemons) Get(name string) (*Conn, error) {
	d.mu.RLock()
	conn, ok := d.conns[name]
	d.mu.RUnlock()

	if ok {
		return conn, nil
	}

	d.mu.Lock()
	defer d.mu.Unlock()

	if conn, ok = d.conns[name]; ok {
		return conn, nil
	}

	socket := filepath.Join(d.runDir, name+".sock")

	if !exists(socket) {
		return nil, absent(name)
	}

	conn, err := dialDaemon(name, socket)
	if err != nil {
		return nil, status.Errorf(codes.Internal, "connect to %s: %v", name, err)
	}

	d.conns[name] = conn

	return conn, nil
}

// Close ends every connection.
func (d *Daemons) Close() {
	d.mu.Lock()
	defer d.mu.Unlock()

	for _, conn := range d.conns {
		_ = conn.cc.Close() // the process ends
	}

	clear(d.conns)
}

func dialDaemon(name, socket string) (*Conn, error) {
	cc, err := dial.Socket(socket,
		grpc.WithDefaultCallOptions(callOptions()...),
		// The frames of a call made again are shared, and what is waited for is told: retry and waiter do both.
		grpc.WithDisableRetry(),
		grpc.WithDefaultCallOptions(grpc.WaitForReady(false)),
		grpc.WithStaticStreamWindowSize(daemonWindow),
		grpc.WithStaticConnWindowSize(connWindow),
		grpc.WithReadBufferSize(readBuffer),
	)
	if err != nil {
		return nil, err
	}

	conn := &Conn{name: name, cc: cc, patience: daemonPatience, Window: daemonWindow}
	waiter := &waiter{name: name, socket: socket, cc: cc}
	conn.await = waiter.await
	conn.gone = func(err error) error {
		return status.Errorf(codes.Unavailable, "%s was restarted during the call, which may or may not have been carried out: %s",
			name, status.Convert(err).Message())
	}

	return conn, nil
}

// waiter holds calls back while their daemon restarts.
type waiter struct {
	name, socket string
	cc           *grpc.ClientConn
	seen         atomic.Bool
}

func (w *waiter) await(ctx context.Context) error {
	state := w.cc.GetState()
	if state == connectivity.Ready {
		return nil
	}

	bounded, cancel := context.WithTimeout(ctx, daemonPatience)
	defer cancel()

	for ; state != connectivity.Ready; state = w.cc.GetState() {
		if state == connectivity.Idle {
			w.cc.Connect()
		}

		if err := w.missing(state); err != nil {
			return err
		}

		if w.cc.WaitForStateChange(bounded, state) {
			continue
		}

		if err := ctx.Err(); err != nil {
			return status.FromContextError(err).Err()
		}

		return status.Errorf(codes.Unavailable, "%s has not answered for %s; see: service %s", w.name, daemonPatience, w.name)
	}

	w.seen.Store(true)

	return nil
}

// missing tells a daemon that does not come from one that restarts.
func (w *waiter) missing(state connectivity.State) error {
	switch {
	case exists(w.socket + dial.Stopped):
		return dial.StoppedError(w.name)
	case !w.seen.Load() && state == connectivity.TransientFailure && !exists(w.socket):
		return absent(w.name)
	default:
		return nil
	}
}

func absent(name string) error { return &absentError{name} }

// absentError says that a daemon is not on this node: Unimplemented.
type absentError struct{ name string }

func (e *absentError) Error() string {
	return fmt.Sprintf("%s does not run on this node; see: service %s", e.name, e.name)
}

// GRPCStatus is what the caller gets.
func (e *absentError) GRPCStatus() *status.Status { return status.New(codes.Unimplemented, e.Error()) }

// IsAbsent tells whether a call failed because its daemon is not on this node.
func IsAbsent(err error) bool {
	var absent *absentError

	return errors.As(err, &absent)
}

func exists(path string) bool {
	_, err := os.Stat(path)

	return !errors.Is(err, fs.ErrNotExist)
}

const (
	// Windows are what a slow reader may leave in the gateway of one stream; fixed ones save the pings that would measure them.
	// Another node may be far away.
	daemonWindow = 256 << 10
	peerWindow   = 512 << 10
	connWindow   = 8 << 20
	// readBuffer takes several frames of a file at once.
	readBuffer = 64 << 10
)

func callOptions() []grpc.CallOption {
	return []grpc.CallOption{
		grpc.ForceCodecV2(raw.Codec{}),
		grpc.MaxCallRecvMsgSize(dial.MaxMessage),
		grpc.MaxCallSendMsgSize(dial.MaxMessage),
	}
}
