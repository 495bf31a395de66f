package machine

import (
	"context"
	"log/slog"
	"time"

	"github.com/dactyl-os/dactyl/services/init/internal/logring"
	"github.com/dactyl-os/dactyl/services/init/internal/machine/button"
	"github.com/dactyl-os/dactyl/services/init/internal/machine/kmsg"
	"github.com/dactyl-os/dactyl/services/init/internal/machine/mounts"
	"github.com/dactyl-os/dactyl/services/init/internal/machine/power"
	"github.com/dactyl-os/dactyl/services/init/internal/node"
	"github.com/dactyl-os/dactyl/services/init/internal/process"
	"github.com/dactyl-os/dactyl/services/kit/daemon"
	"github.com/dactyl-os/dactyl/services/kit/mountinfo"
)

// logDir is where daemons' logs are, on scratch memory until the disk is there.
const logDir = varDir + "/log/dactyl"

// attached is the machine while services run.
type attached struct {
	*Machine
	log     *slog.Logger
	node    *node.Node
	runner  *process.Runner
	onDisk  bool // logs have moved
	invited bool // the way to a configuration was shown
}

// Attach adds what a machine does beside the services. Nothing of it may stop init: what fails is told and left.
func (m *Machine) Attach(env *daemon.Env, n *node.Node, runner *process.Runner) {
	a := &attached{Machine: m, log: env.Log, node: n, runner: runner}

	n.StopWithin(stopServices)
	a.openLogs(env)
	a.task(env, "power button", func(ctx context.Context) error { return button.Listen(ctx, a.pressed) })
	a.task(env, "mounts", func(ctx context.Context) error { return mounts.Watch(ctx, a.mounted) })
	a.task(env, "backstop", a.backstop)
	a.task(env, "logs", a.syncLogs)
	a.task(env, "console", func(ctx context.Context) error { return a.show(ctx, env.State) })
}

func (a *attached) task(env *daemon.Env, name string, run func(context.Context) error) {
	env.Go(name, func(ctx context.Context) error {
		if err := run(ctx); err != nil {
			a.log.Warn("the machine lacks something", "part", name, "error", err)
		}

		return nil
	})
}

// openLogs keeps the kernel's log, and shows what the kernel of the boot before said while it crashed.
func (a *attached) openLogs(env *daemon.Env) {
	ring, err := logring.Open(logDir, "kernel", logring.DefaultHalf)
	if err != nil {
		a.log.Warn("the kernel's log is not kept", "error", err)

		return
	}

	a.runner.AddLog("kernel", ring)
	a.task(env, "kernel log", func(ctx context.Context) error { return kmsg.Keep(ctx, kernelLog, ring) })

	if len(a.crash) == 0 {
		return
	}

	if crash, err := logring.Open(logDir, "kernel.crash", logring.DefaultHalf); err == nil {
		_, _ = crash.Write(a.crash)
		a.runner.AddLog("kernel.crash", crash)
	}
}

func (a *attached) pressed() {
	_, _ = a.node.GoDown(node.Power{Reason: "power button"}) // a second press changes nothing
}

// mounted moves what is to last onto the disks when they come.
func (a *attached) mounted(entries []mountinfo.Mount) {
	if !a.onDisk && mounts.On(entries, varDir) {
		a.onDisk = true

		if err := mounts.PrepareVar(a.permit); err != nil {
			a.log.Warn("/var lacks something", "error", err)
		}

		if err := a.runner.MoveLogs(logDir); err != nil {
			a.log.Warn("logs are not on the disk", "error", err)
		}
	}

	if !mounts.On(entries, stateDir) {
		return
	}

	previous, err := a.begin()
	if err != nil {
		a.log.Warn("how this boot ends is not kept", "error", err)
	}

	if previous != "" {
		a.node.Note("The boot before ended with " + previous)
		a.Console.Say("the boot before ended with %s", previous)
	}
}

// syncEvery is how much of the daemons' logs a crash may cost.
const syncEvery = 5 * time.Second

// syncLogs ends with the way down, which syncs by itself and unmounts the disk.
func (a *attached) syncLogs(ctx context.Context) error {
	ticker := time.NewTicker(syncEvery)
	defer ticker.Stop()

	for {
		select {
		case <-ctx.Done():
			return nil
		case <-a.node.GoingDown():
			return nil
		case <-ticker.C:
		}

		if err := a.runner.SyncLogs(); err != nil {
			a.log.Warn("logs are not on the disk", "error", err)
		}
	}
}

// backstop forces the way down when not even init's own end comes in time.
func (a *attached) backstop(ctx context.Context) error {
	select {
	case <-a.node.GoingDown():
	case <-ctx.Done():
		return nil
	}

	action := a.Action(a.node.Asked().Reboot)
	a.Console.Say("stage: %s (%s)", action, a.node.Asked().Reason)

	time.AfterFunc(stopAll, func() {
		a.Console.Say("%s by force: something hangs", action)
		_ = power.Now(a.permit, action)
	})

	return nil
}
