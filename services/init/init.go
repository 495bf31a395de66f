// Package initd is PID 1: it starts the daemons in order, holds their sockets, restarts what crashes, keeps logs and events
// and takes the node down. The folder is called init; Go reserves that name.
package initd

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/dactyl-os/dactyl/proto/inspect"
	initv1 "github.com/dactyl-os/dactyl/proto/local/dactyl/init/v1"
	kitv1 "github.com/dactyl-os/dactyl/proto/local/dactyl/kit/v1"
	machineapi "github.com/dactyl-os/dactyl/proto/machine"
	"github.com/dactyl-os/dactyl/services/init/internal/api"
	"github.com/dactyl-os/dactyl/services/init/internal/logring"
	"github.com/dactyl-os/dactyl/services/init/internal/machine"
	"github.com/dactyl-os/dactyl/services/init/internal/manifest"
	"github.com/dactyl-os/dactyl/services/init/internal/node"
	"github.com/dactyl-os/dactyl/services/init/internal/process"
	"github.com/dactyl-os/dactyl/services/kit/daemon"
)

const (
	manifestDir = "usr/share/dactyl/services"
	logDir      = "var/log/dactyl"
	// memoryLogs is where logs go when /var has to be given up.
	memoryLogs = "log"
	// stopTimeout is longer than the services' own way down.
	stopTimeout = "45s"
	// memoryLimit is soft: PID 1 is small, and who fills it with requests and watches is not to make it grow by more than 16 MB.
	memoryLimit = 20 << 20
)

// Main runs init and gives its exit code: 0 asks for power off, 64 for a reboot.
func Main() int {
	host, err := machine.Enter()
	if host == nil {
		return run(&console{out: os.Stderr}, nil)
	}

	if err != nil {
		host.Leave(nil, err)

		return 1
	}

	return run(&console{out: host.Console}, host)
}

// run is init until the node goes down; host is the machine, if this is one.
func run(console *console, host *machine.Machine) int {
	args := []string{"--stop-timeout", stopTimeout}
	if host == nil {
		// On a machine the arguments are words of the kernel command line that the kernel does not know.
		args = append(args, os.Args[1:]...)
	}

	// Signals are a way down like any other, so they do not end the context.
	err := daemon.Run(context.Background(), "init", args, console, func(env *daemon.Env) error {
		return construct(env, console, host)
	})

	if host != nil {
		host.Leave(asked(host, console, err), err)

		return 1 // the kernel refused: the end of PID 1 makes it panic, and reboot
	}

	if power := (*node.Power)(nil); errors.As(err, &power) {
		return power.ExitCode()
	}

	if err != nil {
		fmt.Fprintln(os.Stderr, "init:", err)

		return 1
	}

	return 0
}

// asked is the way down that somebody asked for; nil when init could not go on.
func asked(host *machine.Machine, console *console, err error) *machine.Asked {
	power := (*node.Power)(nil)
	if !errors.As(err, &power) {
		return nil
	}

	return &machine.Asked{Action: host.Action(power.Reboot), Reason: power.Reason, CloseLogs: console.closeLogs}
}

// construct wires init; host is nil on a machine that is not init's own.
func construct(env *daemon.Env, console *console, host *machine.Machine) error {
	daemon.LimitMemory(memoryLimit)

	manifests, err := manifest.LoadDir(env.Path(manifestDir))
	if err != nil {
		env.Log.Error("manifests left out", "error", err)
	}

	if manifests, err = manifest.Order(manifest.For(manifests, host != nil)); err != nil {
		env.Log.Error("services that cannot start", "error", err)
	}

	runner, reaper, err := prepare(env, manifests, console)
	if err != nil {
		return err
	}

	n := node.New(env.Log, runner, manifests)

	machineapi.RegisterMachineServiceServer(env.Server(), api.New(n, runner, env.Path(logDir), env.Root))
	inspect.RegisterInspectServiceServer(env.Server(), api.NewInspect(n, env.Dial))
	initv1.RegisterInitServiceServer(env.Server(), api.NewLocal(n, func() error {
		return runner.MoveLogs(filepath.Join(env.RunDir, memoryLogs))
	}, runner.Mounted))

	env.Metrics(func() []*kitv1.Family { return starts(n.Services()) })

	env.Go("reaper", reaper.Run)
	env.Go("socket", func(context.Context) error { return process.OpenToDaemons(env.Socket(env.Name)) })
	env.Go("signals", func(ctx context.Context) error { return powerOnSignal(ctx, n) })
	env.Go("conditions", func(ctx context.Context) error {
		return n.WatchFacts(ctx, env.State, func(path string) bool {
			_, err := os.Stat(env.Path(path))

			return err == nil
		})
	})
	env.Go("health", func(ctx context.Context) error { return n.CheckHealth(ctx, env.Dial, runner) })

	release := env.Hold()
	env.Go("status", func(ctx context.Context) error { return n.PublishStatus(ctx, env.Local(), release) })
	if host != nil {
		console.closeLogs = runner.CloseLogs
		host.Attach(env, n, runner)
	}

	env.Go("services", n.Run)

	return nil
}

// prepare opens logs, sockets and limits. What fails costs the daemon concerned, not the node.
func prepare(env *daemon.Env, manifests []manifest.Manifest, console *console) (*process.Runner, *process.Reaper, error) {
	own, err := logring.Open(env.Path(logDir), env.Name, logring.DefaultHalf)
	if err != nil {
		env.Log.Error("log goes only to the console", "error", err)
	} else {
		console.keep(own)
	}

	cgroups, limits, err := process.OpenCgroups()
	if err != nil {
		return nil, nil, fmt.Errorf("make the daemons' cgroups, by which they know each other: %w", err)
	}

	if limits != nil {
		env.Log.Warn("memory limits are left to each daemon's runtime", "error", limits)
	}

	landlock, err := process.OpenLandlock()
	if err != nil {
		env.Log.Warn("What manifests say of files (reads, writes) is not enforced", "error", err)
	}

	// Orphans come to PID 1 by themselves; anywhere else they have to be asked for.
	if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
		return nil, nil, fmt.Errorf("become reaper: %w", err)
	}

	reaper := process.NewReaper()

	runner, err := process.NewRunner(process.Options{
		Reaper: reaper, Cgroups: cgroups, Landlock: landlock, Console: console.out, RunDir: env.RunDir, LogDir: env.Path(logDir), Root: env.Root,
	}, manifests)
	if runner == nil {
		return nil, nil, err
	}

	if err != nil {
		env.Log.Error("daemons left out", "error", err)
	}

	if own != nil {
		runner.AddLog(env.Name, own)
	}

	return runner, reaper, nil
}

// powerOnSignal takes SIGTERM and SIGINT (ctrl-alt-del) as the power button and the reset button.
func powerOnSignal(ctx context.Context, n *node.Node) error {
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT)

	defer signal.Stop(signals)

	for {
		select {
		case s := <-signals:
			_, _ = n.GoDown(node.Power{Reason: reason(s), Reboot: s == syscall.SIGINT}) // a second signal changes nothing
		case <-ctx.Done():
			return nil
		}
	}
}

func reason(s os.Signal) string {
	if s == syscall.SIGINT {
		return "ctrl-alt-del"
	}

	return "signal to init"
}

// console is where init's own log goes: the console, and a log like any daemon's once that is open.
type console struct {
	out io.Writer
	log *logring.Ring
	// closeLogs lets go of the disk, on machines.
	closeLogs func() error
}

// keep is called before anything else writes.
func (c *console) keep(log *logring.Ring) { c.log = log }

func (c *console) Write(p []byte) (int, error) {
	if c.log != nil {
		_, _ = c.log.Write(p)
	}

	return c.out.Write(p)
}
