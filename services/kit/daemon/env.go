// Package daemon is the scaffold of every Dactyl daemon: flags, logging, sockets, the gRPC server, the resource state,
// controllers, readiness and a bounded stop. A daemon supplies only a constructor that registers what it serves.
package daemon

import (
	"context"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"sync"
	"time"

	"google.golang.org/grpc"

	"github.com/cosi-project/runtime/pkg/controller"
	"github.com/cosi-project/runtime/pkg/resource"
	"github.com/cosi-project/runtime/pkg/state"

	kitv1 "github.com/dactyl-os/dactyl/proto/local/dactyl/kit/v1"

	"github.com/dactyl-os/dactyl/services/kit/calllog"
	"github.com/dactyl-os/dactyl/services/kit/dial"
	"github.com/dactyl-os/dactyl/services/kit/internal/catalog"
	"github.com/dactyl-os/dactyl/services/kit/internal/peercred"
	"github.com/dactyl-os/dactyl/services/kit/internal/stateserver"
	"github.com/dactyl-os/dactyl/services/kit/keep"
	"github.com/dactyl-os/dactyl/services/kit/metrics"
	"github.com/dactyl-os/dactyl/services/kit/router"
)

// Definition says who owns a resource type, who may read and who may write it, see Env.Define.
type Definition = catalog.Definition

// Env is what a daemon's constructor works with.
type Env struct {
	// Name is the daemon's name: its socket, its owner key in descriptors and resource definitions.
	Name string
	// Log is the daemon's logger.
	Log *slog.Logger
	// StateDir is the daemon's persistent directory (--state-dir, default /system/state).
	StateDir string
	// RunDir holds the sockets of all daemons (--run-dir, default /run/dactyl).
	RunDir string
	// Root is put before system paths such as /etc and /proc (--root, default "/").
	Root string
	// ConfigFile is set when the daemon runs alone (--config): its bytes are the MachineConfig and every type is local.
	ConfigFile string
	// StopTimeout bounds the stop after SIGTERM (--stop-timeout).
	StopTimeout time.Duration
	// Patience is how long controllers wait for the owner of an input of another daemon that has told nothing yet, from their
	// start on; afterwards such a read is a router.UnknownError until it has. Only for the constructor.
	Patience time.Duration
	// State reads and watches every daemon's resources: own types are local, others go to their owner's socket.
	State state.State

	router    *router.Router // nil when the daemon runs alone
	server    *grpc.Server
	states    *stateserver.Server
	runtime   *engine
	tasks     *tasks
	settle    *settle
	listeners map[string]net.Listener
	types     map[string]Definition
	stopping  chan struct{}
	notify    *notifier
	// nameOf tells who calls; set before the server takes calls.
	nameOf func(peercred.Caller) string
	calls  metrics.Calls
	// outside has a line for each call from outside the node.
	outside *calllog.Log

	tellMetrics []func() []*kitv1.Family

	mu    sync.Mutex
	conns map[string]*grpc.ClientConn
}

// Alone tells whether the daemon runs without the others, its configuration in a file.
func (e *Env) Alone() bool { return e.ConfigFile != "" }

// OwnMachine tells whether the daemon is one of a machine's, whose disks are ours: not in a container, not run alone, not
// below another root. platform is talos.platform.
func (e *Env) OwnMachine(platform string) bool {
	return platform != "" && platform != "container" && !e.Alone() && filepath.Clean(e.Root) == "/"
}

// Path joins a system path to Root: Path("etc", "hosts").
func (e *Env) Path(elem ...string) string {
	return filepath.Join(append([]string{e.Root}, elem...)...)
}

// RunFile is the path of a file that is the daemon's alone and lasts over its restarts, until the machine's own (init made its
// directory, RUN-DIR/NAME).
func (e *Env) RunFile(file string) string { return filepath.Join(e.RunDir, e.Name, file) }

// Socket is the path of a daemon's socket.
func (e *Env) Socket(owner string) string { return filepath.Join(e.RunDir, owner+".sock") }

// Server is where the constructor registers the daemon's gRPC services.
func (e *Env) Server() grpc.ServiceRegistrar { return e.server }

// Controller registers a cosi controller; Run starts it. Inputs may be of any owner, outputs only of this daemon. Inputs of
// other owners are read from what their watch told: no read waits for a daemon that hangs.
func (e *Env) Controller(c controller.Controller) error { return e.runtime.register(c) }

// Go runs a background task from the moment the daemon listens. The first task that returns an error stops the daemon
// with it as the cause; a panic becomes an error with its stack; returning nil ends only the task.
func (e *Env) Go(name string, task func(ctx context.Context) error) { e.tasks.add(name, task) }

// Dial gives the connection to another daemon's socket, made once and shared. Calls wait for the owner to be there and
// idempotent ones are sent again when it goes away; when it was stopped or given up, they fail (dial.IsStopped).
func (e *Env) Dial(owner string) (*grpc.ClientConn, error) {
	e.mu.Lock()
	defer e.mu.Unlock()

	if conn := e.conns[owner]; conn != nil {
		return conn, nil
	}

	conn, err := dial.Socket(e.Socket(owner))
	if err != nil {
		return nil, err
	}

	e.conns[owner] = conn

	return conn, nil
}

// dialPresent is Dial for the router: a type whose owner has no socket is not served on this node.
func (e *Env) dialPresent(owner string) (*grpc.ClientConn, error) {
	if _, err := os.Stat(e.Socket(owner)); err != nil {
		return nil, err
	}

	return e.Dial(owner)
}

func (e *Env) closeConns() {
	e.mu.Lock()
	defer e.mu.Unlock()

	for _, conn := range e.conns {
		conn.Close()
	}
}

// Listener gives an extra listener held by init (manifest listen:), e.g. "tcp-50000"; false when init handed over none.
func (e *Env) Listener(name string) (net.Listener, bool) {
	l, ok := e.listeners[name]

	return l, ok
}

// Local is the store of the daemon's own types, without routing and role checks.
func (e *Env) Local() state.State { return state.WrapCore(e.states.Store()) }

// Redact gives callers on the node that may not read the sensitive type a redacted copy instead of a refusal. Only for
// the constructor.
func (e *Env) Redact(typ resource.Type, redact func(resource.Resource) (resource.Resource, error)) {
	e.states.Redact[typ] = redact
}

// Define declares a resource type that proto/resource does not know: tests and daemons of others. Only for the
// constructor.
func (e *Env) Define(typ resource.Type, def Definition) { e.types[typ] = def }

// Hold keeps a restarted daemon from answering "not found" and short lists until release is called, for publishers that
// are not controllers; those the kit watches itself. It never holds longer than a few seconds. Only for the constructor.
func (e *Env) Hold() (release func()) { return e.settle.hold() }

// Keep restores the resources of these kinds as the last run in this boot left them, and keeps them for the next one, in
// RUN-DIR/NAME/resources. Own types only, registered before. Only for the constructor.
func (e *Env) Keep(kinds ...resource.Kind) {
	kept := &keep.Resources{Path: e.RunFile("resources"), Kinds: kinds, Log: e.Log}
	kept.Restore(context.Background(), e.Local())
	e.Go("keep resources", kept.Follow(e.Local()))
}

// Stopping is closed when the daemon begins to stop, before its server stops answering: streams should end then.
func (e *Env) Stopping() <-chan struct{} { return e.stopping }
