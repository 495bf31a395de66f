package daemon

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/signal"
	"syscall"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/health"
	"google.golang.org/grpc/health/grpc_health_v1"

	"github.com/cosi-project/runtime/pkg/state"

	kitv1 "github.com/dactyl-os/dactyl/proto/local/dactyl/kit/v1"

	"github.com/dactyl-os/dactyl/services/kit/calllog"
	"github.com/dactyl-os/dactyl/services/kit/internal/catalog"
	"github.com/dactyl-os/dactyl/services/kit/internal/stateserver"
	"github.com/dactyl-os/dactyl/services/kit/router"
)

// patience is Env.Patience unless a daemon asks for another: one that starts together with this one has told by then.
const patience = 2 * time.Second

// Main runs a daemon as a process and gives the exit code: flags from os.Args, SIGTERM and SIGINT stop it, the error is
// printed once to stderr. 0 is an orderly stop, 1 a failure, 2 a wrong command line.
func Main(name string, construct func(*Env) error) int {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()

	err := Run(ctx, name, os.Args[1:], os.Stderr, construct)

	switch {
	case err == nil || errors.Is(err, flag.ErrHelp):
		return 0
	case errors.Is(err, errUsage):
		fmt.Fprintf(os.Stderr, "%s: %v\n", name, err)

		return 2
	default:
		fmt.Fprintf(os.Stderr, "%s: %v\n", name, err)

		return 1
	}
}

// Run runs a daemon until ctx ends or a task fails. construct registers what the daemon serves and must not block.
func Run(ctx context.Context, name string, args []string, stderr io.Writer, construct func(*Env) error) error {
	tuneProcess()

	go trimMemory(ctx)

	set, err := parseFlags(name, args, stderr)
	if err != nil {
		return err
	}

	own, extra, err := inherited()
	if err != nil {
		return err
	}

	notify, err := inheritNotifier()
	if err != nil {
		return err
	}

	handedOver := own != nil
	if !handedOver {
		if own, err = listen(set.socket); err != nil {
			return err
		}
	}
	defer own.Close()

	streams, endStreams := context.WithCancel(context.Background())
	defer endStreams()

	env := newEnv(name, set, extra, slog.New(slog.NewTextHandler(stderr, &slog.HandlerOptions{Level: set.level})), streams)
	env.notify = notify

	defer env.closeConns()

	restarted := markStarted(env.RunFile("started"))

	if err := env.prepare(); err != nil {
		return err
	}

	if err := protect("constructor", func() error { return construct(env) }); err != nil {
		return err
	}

	// init enters its own cgroup in its constructor.
	if env.nameOf, err = callerNames(name, handedOver); err != nil {
		return err
	}

	set.startDebug(env)

	return env.serve(ctx, own, restarted, endStreams)
}

func newEnv(name string, set settings, extra map[string]net.Listener, log *slog.Logger, streams context.Context) *Env {
	env := &Env{
		Name:        name,
		Log:         log,
		outside:     calllog.New(log),
		StateDir:    set.stateDir,
		RunDir:      set.runDir,
		Root:        set.root,
		ConfigFile:  set.configFile,
		StopTimeout: set.stopTimeout,
		Patience:    patience,
		states:      stateserver.New(),
		tasks:       &tasks{},
		settle:      newSettle(),
		listeners:   extra,
		types:       map[string]Definition{},
		stopping:    make(chan struct{}),
		conns:       map[string]*grpc.ClientConn{},
	}

	lookup := catalog.Lookup(catalog.Declared).With(env.types)
	env.states.Self, env.states.Lookup, env.states.Alone = name, lookup, env.Alone()
	env.states.Stopping, env.states.Settled = env.stopping, env.settle.wait
	env.runtime = &engine{env: env}
	env.server = newServer(env, streams)

	if env.Alone() {
		env.State = state.WrapCore(router.Local(env.states.Store()))
	} else {
		env.router = router.New(name, env.states.Store(), env.dialPresent, router.WithTypes(lookup), router.WithLog(log))
		env.State = state.WrapCore(env.router)
	}

	return env
}

// serve declares ready, runs until ctx ends or a task fails, and stops within the bound.
func (e *Env) serve(ctx context.Context, own net.Listener, restarted bool, endStreams func()) error {
	checks := health.NewServer()
	grpc_health_v1.RegisterHealthServer(e.server, checks)
	e.states.Register(e.server)
	kitv1.RegisterMetricsServiceServer(e.server, metricsServer{env: e})
	kitv1.RegisterInspectServiceServer(e.server, inspectServer{env: e})

	if e.runtime.runtime != nil {
		e.tasks.add("controllers", e.runtime.runtime.Run)
	}

	e.tasks.add("settle", func(ctx context.Context) error {
		e.settle.watch(ctx, restarted, e.states.Store().Quiet)

		return nil
	})

	// Tasks outlive ctx: calls that are still answered during the stop need them.
	e.tasks.start(context.WithoutCancel(ctx))

	served := make(chan error, 1)
	go func() { served <- e.server.Serve(own) }()

	if err := e.notify.ready(); err != nil {
		e.Log.Warn("declare ready", "error", err)
	}

	e.Log.Debug("serving", "socket", own.Addr().String())

	var err error

	select {
	case <-ctx.Done():
	case <-e.tasks.failed():
		err = e.tasks.cause()
	case err = <-served:
		err = fmt.Errorf("serve: %w", err)
	}

	deadline := time.Now().Add(e.StopTimeout)

	checks.Shutdown()
	close(e.stopping)
	e.stopServer(deadline, endStreams)

	return errors.Join(err, e.tasks.stop(deadline))
}

// stopServer lets running calls finish until shortly before the deadline.
func (e *Env) stopServer(deadline time.Time, endStreams func()) {
	stop := time.AfterFunc(streamGrace, endStreams)
	defer stop.Stop()

	// Tasks get the last fifth of the time.
	force := time.AfterFunc(time.Until(deadline)*4/5, e.server.Stop)
	defer force.Stop()

	e.server.GracefulStop()
}
