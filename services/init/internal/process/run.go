package process

import (
	"context"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/dactyl-os/dactyl/services/init/internal/manifest"
	"github.com/dactyl-os/dactyl/services/init/internal/supervise"
)

const (
	// tailLines of a daemon's log explain its crash.
	tailLines = 5
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
		r.cgroups.kill(spec.Name)
	}
}

// ended cleans up after a process and says how it ended.
func (r *Runner) ended(d *daemon, status syscall.WaitStatus, run *run) supervise.Exit {
	spec, pid := d.setProcess(manifest.Manifest{}, 0)
	if pid > 0 {
		r.sweep(spec, pid, syscall.SIGKILL)
	}

	_ = os.Remove(r.pidFile(d.name))

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
		Killed: status.Signaled() && status.Signal() == syscall.SIGKILL, Tail: d.log.Tail(tailLines),
	}

	if exit.Killed && r.cgroups.oomKills(d.name) > run.oomKills {
		exit.Killed, exit.Status = false, outOfMemory(spec.Memory)
	}

	return exit
}

func (r *Runner) pidFile(service string) string { return filepath.Join(r.runDir, "pids", service) }

// setProcess keeps the current process and gives the one before.
func (d *daemon) setProcess(spec manifest.Manifest, pid int) (manifest.Manifest, int) {
	d.mu.Lock()
	defer d.mu.Unlock()

	beforeSpec, before := d.spec, d.pid
	d.spec, d.pid = spec, pid

	return beforeSpec, before
}
