package process

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/dactyl-os/dactyl/services/init/internal/logring"
	"github.com/dactyl-os/dactyl/services/init/internal/manifest"
	"github.com/dactyl-os/dactyl/services/init/internal/supervise"
)

const (
	// tailLines of a daemon's log explain its crash.
	tailLines = 5
	// stackLines is how far back a Go program's reason to end may be: its stacks are behind it.
	stackLines = 400
	// panicked is a Go program's exit status after a panic or a fatal error.
	panicked = 2
	// drainTime is how long output still in the pipe is waited for: a grandchild may hold the pipe open for ever.
	drainTime = 100 * time.Millisecond
)

// run is one process of a daemon.
type run struct {
	// drained: its output has ended; notified: so has what it tells init. ended: so has the process.
	drained, notified, ended chan struct{}
	// oomKills were counted before it.
	oomKills uint64
}

// Signal sends a signal to a daemon's process or to all it has started.
func (r *Runner) Signal(service string, signal syscall.Signal, group bool) {
	d := r.daemon(service)
	if d == nil {
		return
	}

	d.mu.Lock()
	defer d.mu.Unlock()

	if d.pid <= 0 {
		return
	}

	_ = syscall.Kill(d.pid, signal)

	if group {
		r.sweep(d.spec, d.pid, signal)
	}
}

// sweep signals what ends with a daemon's process.
func (r *Runner) sweep(spec manifest.Manifest, pid int, signal syscall.Signal) {
	if spec.Kill == manifest.KillProcess {
		return
	}

	_ = syscall.Kill(-pid, signal)

	if signal == syscall.SIGKILL && spec.Kill == manifest.KillCgroup {
		r.cgroups.kill(groupOf(spec))
	}
}

// ended cleans up after a process and says how it ended.
func (r *Runner) ended(d *daemon, status syscall.WaitStatus, run *run) supervise.Exit {
	spec := d.running()

	if pid := d.setPID(0); pid > 0 {
		r.sweep(spec, pid, syscall.SIGKILL)
	}

	close(run.ended)

	late, cancel := context.WithTimeout(context.Background(), drainTime)
	defer cancel()

	for _, done := range []<-chan struct{}{run.drained, run.notified} {
		select {
		case <-done:
		case <-late.Done():
		}
	}

	exit := supervise.Exit{
		Status: describe(status), Success: status.Exited() && status.ExitStatus() == 0,
		Killed: status.Signaled() && status.Signal() == syscall.SIGKILL, Tail: lastWords(d.log, status),
	}

	if exit.Killed && r.cgroups.oomKills(groupOf(spec)) > run.oomKills {
		exit.Killed, exit.Status = false, outOfMemory(spec.Memory)
	}

	return exit
}

// lastWords of a process: the end of its log, or a panic's message instead of the end of its stacks.
func lastWords(log *logring.Ring, status syscall.WaitStatus) []string {
	if !status.Exited() || status.ExitStatus() != panicked {
		return log.Tail(tailLines)
	}

	lines := log.Tail(stackLines)

	for i, line := range slices.Backward(lines) {
		if strings.HasPrefix(line, "panic: ") || strings.HasPrefix(line, "fatal error: ") {
			return lines[i:min(len(lines), i+tailLines)]
		}
	}

	return lines[max(0, len(lines)-tailLines):]
}

// take makes run the daemon's current process, to be made as spec says: what that does not keep is closed.
func (d *daemon) take(spec manifest.Manifest, run *run) {
	d.release(func(name string) bool { return !manifest.Covers(spec.Keep, name) })

	d.mu.Lock()
	defer d.mu.Unlock()

	d.spec, d.current = spec, run
}

func (d *daemon) running() manifest.Manifest {
	d.mu.Lock()
	defer d.mu.Unlock()

	return d.spec
}

// setPID keeps the PID of the current process and gives the one before.
func (d *daemon) setPID(pid int) int {
	d.mu.Lock()
	defer d.mu.Unlock()

	before := d.pid
	d.pid = pid

	return before
}

// told takes what a daemon's process tells to where it belongs.
func (r *Runner) told(d *daemon, run *run, ready func(version string)) told {
	return told{
		ready: ready,
		keep: func(name string, fd int) {
			if err := d.keep(run, name, fd); err != nil {
				fmt.Fprintf(r.console, "init: %s: not kept: %v\n", d.name, err)
			}
		},
		drop: func(name string) { d.release(func(kept string) bool { return kept == name && d.current == run }) },
	}
}
