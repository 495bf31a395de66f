// Package daemon is the scaffold of every Dactyl daemon: flags, logging, sockets, the gRPC server, the resource state,
// controllers, readiness and a bounded stop. A daemon supplies only a constructor that registers what it serves.
package daemon

import (
	"context"
	"io"
	"log/slog"
	"net"
	"time"

	"google.golang.org/grpc"

	"github.com/cosi-project/runtime/pkg/controller"
	"github.com/cosi-project/runtime/pkg/resource"
	"github.com/cosi-project/runtime/pkg/state"
)

// Main runs a daemon as a process and gives the exit code: flags from os.Args, SIGTERM and SIGINT stop it, the error is
// printed once to stderr.
func Main(name string, construct func(*Env) error) int {
	_, _ = name, construct

	return 0
}

// Run runs a daemon until ctx ends or a task fails. construct registers what the daemon serves and must not block.
func Run(ctx context.Context, name string, args []string, stdout, stderr io.Writer, construct func(*Env) error) error {
	_, _, _, _, _ = ctx, name, args, stdout, stderr

	return construct(nil)
}

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
	// State reads and watches every daemon's resources: own types are local, others go to their owner's socket.
	State state.State
}

// Path joins a system path to Root: Path("etc", "hosts").
func (e *Env) Path(elem ...string) string { _ = elem; return "" }

// Socket is the path of a daemon's socket.
func (e *Env) Socket(owner string) string { _ = owner; return "" }

// Server is where the constructor registers the daemon's gRPC services.
func (e *Env) Server() grpc.ServiceRegistrar { return nil }

// Controller registers a cosi controller; Run starts it. Inputs may be of any owner, outputs only of this daemon.
func (e *Env) Controller(c controller.Controller) error { _ = c; return nil }

// QController registers a cosi queue controller.
func (e *Env) QController(c controller.QController) error { _ = c; return nil }

// Go runs a background task from the moment the daemon listens. The first task that returns an error stops the daemon
// with it as the cause; a panic becomes an error with its stack; returning nil ends only the task.
func (e *Env) Go(name string, task func(ctx context.Context) error) { _, _ = name, task }

// Dial gives the connection to another daemon's socket, made once and shared. Calls wait for the owner to be there and
// idempotent ones are sent again when it goes away.
func (e *Env) Dial(owner string) (*grpc.ClientConn, error) { _ = owner; return nil, nil }

// Listener gives an extra listener held by init (manifest listen:), e.g. "tcp:50000"; false when init handed over none.
func (e *Env) Listener(name string) (net.Listener, bool) { _ = name; return nil, false }

// Local is the store of the daemon's own types, without routing and role checks.
func (e *Env) Local() state.State { return nil }

// Redact gives callers that may not read the sensitive type a redacted copy instead of a refusal.
func (e *Env) Redact(typ resource.Type, redact func(resource.Resource) (resource.Resource, error)) {
	_, _ = typ, redact
}

// Stopping is closed when the daemon begins to stop, before its server stops answering.
func (e *Env) Stopping() <-chan struct{} { return nil }
