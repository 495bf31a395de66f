package supervise

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"syscall"
	"time"

	"github.com/dactyl-os/dactyl/services/init/internal/manifest"
)

// Runner makes processes and signals them: how a service runs, where Core is what runs.
type Runner interface {
	// Open makes a unit's log and sockets; what fails is told by Start.
	Open(spec manifest.Manifest)
	// Start makes a process. It calls back, from other goroutines, once when the process serves and once when it ended.
	Start(spec manifest.Manifest, ready func(version string), exited func(Exit)) (pid int, err error)
	// Signal sends a signal to the service's process, or to all that ends with it.
	Signal(service string, signal syscall.Signal, group bool)
	// Withdraw takes the service's socket from callers until the next Start.
	Withdraw(service string)
	// MarkStopped tells callers that the service stays away until the next Start.
	MarkStopped(service string)
	// Drop closes all that is kept of a service.
	Drop(service string)
}

// Request is what a client may ask of a service: Core's Start, Stop or Restart. The sentence is the answer.
type Request func(core *Core, now time.Time, service string) string

// ErrDown is what requests get once everything has been stopped.
var ErrDown = errors.New("services have been stopped")

// Loop is the goroutine that owns a Core.
type Loop struct {
	core   *Core
	runner Runner
	inputs chan func(*Core, time.Time)
	done   chan struct{}
}

// NewLoop makes the owner of core; Run must be called once.
func NewLoop(core *Core, runner Runner) *Loop {
	return &Loop{core: core, runner: runner, inputs: make(chan func(*Core, time.Time)), done: make(chan struct{})}
}

// Run starts the services and serves requests until ctx ends; then it stops all of them, at the latest within limit.
func (l *Loop) Run(ctx context.Context, limit time.Duration) error {
	defer close(l.done)

	l.core.Boot(time.Now())
	l.carryOut()

	timer := time.NewTimer(time.Hour)
	defer timer.Stop()

	var giveUp <-chan time.Time

	stop := ctx.Done()

	for !l.core.Down() {
		if at, waits := l.core.Deadline(); waits {
			timer.Reset(time.Until(at))
		}

		select {
		case input := <-l.inputs:
			input(l.core, time.Now())
		case <-timer.C:
			l.core.Tick(time.Now())
		case <-stop:
			stop, giveUp = nil, time.After(limit)

			l.core.StopAll(time.Now())
		case <-giveUp:
			return fmt.Errorf("still running after %s: %s", limit, strings.Join(l.live(), ", "))
		}

		l.carryOut()
	}

	return nil
}

// Do runs f on the owner's goroutine and waits for it.
func (l *Loop) Do(f func(core *Core, now time.Time)) error {
	ran := make(chan struct{})

	select {
	case l.inputs <- func(core *Core, now time.Time) { f(core, now); close(ran) }:
		<-ran

		return nil
	case <-l.done:
		return ErrDown
	}
}

// carryOut executes effects in order; a process that cannot be made is told to the core at once.
func (l *Loop) carryOut() {
	for effects := l.core.Effects(); len(effects) > 0; effects = l.core.Effects() {
		for _, effect := range effects {
			switch e := effect.(type) {
			case Open:
				l.runner.Open(e.Spec)
			case Launch:
				l.launch(e)
			case Signal:
				l.runner.Signal(e.Service, e.Signal, e.Group)
			case Withdraw:
				l.runner.Withdraw(e.Service)
			case MarkStopped:
				l.runner.MarkStopped(e.Service)
			case Drop:
				l.runner.Drop(e.Service)
			}
		}
	}
}

func (l *Loop) launch(e Launch) {
	tell := func(f func(*Core, time.Time)) { _ = l.Do(f) } // after the end nobody needs to know

	service := e.Spec.Name

	pid, err := l.runner.Start(e.Spec,
		func(version string) { tell(func(c *Core, now time.Time) { c.Ready(now, service, e.Run, version) }) },
		func(exit Exit) { tell(func(c *Core, now time.Time) { c.Exited(now, service, e.Run, exit) }) })
	if err != nil {
		l.core.LaunchFailed(time.Now(), service, e.Run, err)

		return
	}

	l.core.Launched(time.Now(), service, e.Run, pid)
}

func (l *Loop) live() []string {
	var names []string

	for _, s := range l.core.Status() {
		if s.PID != 0 {
			names = append(names, s.Name)
		}
	}

	return names
}
