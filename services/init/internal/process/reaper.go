// Package process is what touches the system for init: it makes the daemons' processes with their user, capabilities,
// limits and sockets, collects their output, and reaps every child that PID 1 is given.
package process

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"sync"
	"syscall"
)

// Reaper is the only one in the process that waits for children, so that orphans and daemons are never mixed up.
type Reaper struct {
	owners map[int]func(syscall.WaitStatus)
	mu     sync.Mutex
}

// NewReaper makes a reaper; Run must be called once.
func NewReaper() *Reaper {
	return &Reaper{owners: map[int]func(syscall.WaitStatus){}}
}

// start makes a child with fork and calls exited, on a goroutine of its own, when that has ended. Holding the lock over the
// fork keeps Run from reaping a child before its owner is known.
func (r *Reaper) start(fork func() (int, error), exited func(syscall.WaitStatus)) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()

	pid, err := fork()
	if err != nil {
		return 0, err
	}

	r.owners[pid] = exited

	return pid, nil
}

// Run reaps until ctx ends.
func (r *Reaper) Run(ctx context.Context) error {
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGCHLD)
	defer signal.Stop(signals)

	for {
		r.sweep()

		select {
		case <-signals:
		case <-ctx.Done():
			return nil
		}
	}
}

// sweep takes every child that has ended. One SIGCHLD may stand for several.
func (r *Reaper) sweep() {
	r.mu.Lock()
	defer r.mu.Unlock()

	for {
		var status syscall.WaitStatus

		pid, err := syscall.Wait4(-1, &status, syscall.WNOHANG, nil)
		if errors.Is(err, syscall.EINTR) {
			continue
		}

		if err != nil || pid <= 0 {
			return
		}

		if owner := r.owners[pid]; owner != nil {
			delete(r.owners, pid)

			go owner(status)
		}
	}
}

// describe tells how a process ended.
func describe(status syscall.WaitStatus) string {
	switch {
	case status.Signaled() && status.Signal() == syscall.SIGKILL:
		return "killed"
	case status.Signaled():
		return "signal: " + status.Signal().String()
	default:
		return fmt.Sprintf("exit status %d", status.ExitStatus())
	}
}
