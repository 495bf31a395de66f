package supervise

import (
	"fmt"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/dactyl-os/dactyl/services/init/internal/manifest"
)

// unit is one service and its current run.
type unit struct {
	spec    manifest.Manifest
	health  Health
	started time.Time
	served  time.Time
	retryAt time.Time
	killAt  time.Time
	crashed []time.Time
	history []Event
	waiting string
	version string
	state   State
	run     int
	pid     int
	crashes int
	delay   time.Duration
	// wanted: it is to run when it can. live: a process exists or is being made. ready: it serves.
	wanted, live, ready bool
	// again: start once more after the stop that is going on.
	again bool
}

// ended begins the sentence about a process that ended, or never was.
func (u *unit) ended() string {
	if u.pid == 0 {
		return "Not started"
	}

	return fmt.Sprintf("PID %d ended by itself", u.pid)
}

func (u *unit) succeeded() bool { return u.state == Finished && u.spec.Restart == manifest.RestartOnce }

// Launched tells that a process was made.
func (c *Core) Launched(now time.Time, service string, run, pid int) {
	u := c.current(service, run)
	if u == nil {
		return
	}

	u.pid, u.started = pid, now

	if u.state == Preparing {
		c.event(u, now, Starting, fmt.Sprintf("Started as PID %d, not serving yet", pid))
	}
}

// LaunchFailed tells that no process could be made.
func (c *Core) LaunchFailed(now time.Time, service string, run int, reason error) {
	if u := c.current(service, run); u != nil {
		u.started = now
		c.Exited(now, service, run, Exit{Status: reason.Error()})
	}
}

// Ready tells that a run serves, and which version it says it is.
func (c *Core) Ready(now time.Time, service string, run int, version string) {
	u := c.current(service, run)
	if u == nil || u.ready || u.state == Stopping {
		return
	}

	u.ready, u.served, u.version = true, now, version
	sentence := fmt.Sprintf("Serving as PID %d after %s", u.pid, round(now.Sub(u.started)))

	if version != "" {
		sentence += ", version " + version
	}

	c.event(u, now, Running, sentence)
	c.evaluate(now)
}

// Checked tells the result of a health check.
func (c *Core) Checked(now time.Time, service string, run int, healthy bool, message string) {
	u := c.current(service, run)
	if u == nil || !u.ready || u.state == Stopping || (u.health.Known && u.health.Healthy == healthy && u.health.Message == message) {
		return
	}

	u.health = Health{Known: true, Healthy: healthy, Message: message, Changed: now}

	sentence := "Health check successful"
	if !healthy {
		sentence = "Health check failed: " + message
	}

	c.event(u, now, u.state, sentence)
}

// Report takes a serving daemon's own word about what it does or waits for; it holds until the next one or its end.
func (c *Core) Report(now time.Time, service string, state State, message string) error {
	if !slices.Contains([]State{Preparing, Waiting, Running, Failed}, state) {
		return fmt.Errorf("a daemon cannot report itself %s", state)
	}

	u := c.units[service]
	if u == nil || !u.ready || u.state == Stopping {
		return fmt.Errorf("service %q is not serving", service)
	}

	if last := u.history[len(u.history)-1]; last.State != state || last.Message != message {
		c.event(u, now, state, message)
	}

	return nil
}

// Exited tells that a process has ended.
func (c *Core) Exited(now time.Time, service string, run int, exit Exit) {
	u := c.current(service, run)
	if u == nil {
		return
	}

	stopped := u.state == Stopping
	settled := c.policy.settled(u, now, exit)
	u.live, u.ready, u.killAt = false, false, time.Time{}
	u.health = Health{Changed: now}

	switch {
	case stopped:
		c.event(u, now, Finished, fmt.Sprintf("Stopped (%s)", exit.Status))
		u.wanted, u.again = u.again, false
	case u.spec.Restart == manifest.RestartNever, u.spec.Restart == manifest.RestartOnce && exit.Success:
		u.wanted = false
		c.event(u, now, outcome(exit), fmt.Sprintf("PID %d ended (%s)%s", u.pid, exit.Status, quote(exit)))
	default:
		c.crash(u, now, exit, settled)
	}

	if !u.wanted && !c.stopping {
		c.effect(MarkStopped{Service: service})
	}

	c.evaluate(now)
}

func outcome(exit Exit) State {
	if exit.Success {
		return Finished
	}

	return Failed
}

// crash restarts a service that has ended by itself, later each time, and gives it up when it loops.
func (c *Core) crash(u *unit, now time.Time, exit Exit, settled bool) {
	if settled {
		u.crashes, u.crashed = 0, nil
	}

	u.crashes++
	u.crashed = append(u.crashed, now)
	u.crashed = slices.DeleteFunc(u.crashed, func(at time.Time) bool { return now.Sub(at) > c.policy.Window })

	if len(u.crashed) >= c.policy.Limit {
		u.wanted = false
		c.event(u, now, Failed, fmt.Sprintf("Parked after %d crashes within %s (%s); start it again with `service %s start`%s",
			len(u.crashed), round(now.Sub(u.crashed[0])), exit.Status, u.spec.Name, quote(exit)))

		return
	}

	u.delay = c.policy.delay(u.crashes)
	u.retryAt = now.Add(u.delay)

	next := "restarting at once"
	if u.delay > 0 {
		next = fmt.Sprintf("restarting in %s", u.delay)
	}

	c.event(u, now, Failed, fmt.Sprintf("%s (%s), %s", u.ended(), exit.Status, next))
}

// quote sets the end of the log below a sentence; the tab puts it into the second column of a client's table.
func quote(exit Exit) string {
	if exit.Success || len(exit.Tail) == 0 {
		return ""
	}

	return "; its last log lines:\n\t" + strings.Join(exit.Tail, "\n\t")
}

// Start wants a service up, also one that was parked. The sentence says what that means.
func (c *Core) Start(now time.Time, service string) string {
	u := c.units[service]
	if u.live && u.state != Stopping {
		return fmt.Sprintf("Service %q is already running", service)
	}

	u.crashes, u.crashed, u.retryAt = 0, nil, time.Time{}

	if u.live {
		u.again = true

		return fmt.Sprintf("Service %q is stopping, it starts again after that", service)
	}

	u.wanted = true
	c.evaluate(now)

	switch u.state {
	case Skipped:
		return fmt.Sprintf("Service %q is not needed on this node", service)
	case Waiting:
		return fmt.Sprintf("Service %q will start: %s", service, u.waiting)
	default:
		return fmt.Sprintf("Service %q started", service)
	}
}

// Stop wants a service down until it is started again.
func (c *Core) Stop(now time.Time, service string) string {
	u := c.units[service]
	u.wanted, u.again = false, false
	u.retryAt = time.Time{}

	if u.live {
		c.end(u, now, "asked to")

		return fmt.Sprintf("Service %q stopped", service)
	}

	if u.state == Waiting {
		c.event(u, now, Finished, "Stopped before it could start")
		c.effect(MarkStopped{Service: service})
	}

	return fmt.Sprintf("Service %q was not running", service)
}

// Restart stops a service and starts it again.
func (c *Core) Restart(now time.Time, service string) string {
	u := c.units[service]
	if !u.live {
		return c.Start(now, service)
	}

	u.crashes, u.crashed = 0, nil
	u.again = true
	c.end(u, now, "restarting, asked to")

	return fmt.Sprintf("Service %q restarted", service)
}

// end asks a live service to go, once.
func (c *Core) end(u *unit, now time.Time, why string) {
	if !u.live || u.state == Stopping {
		return
	}

	u.killAt = now.Add(u.spec.StopTimeout)
	c.event(u, now, Stopping, fmt.Sprintf("Stopping PID %d: %s", u.pid, why))
	c.effect(Signal{Service: u.spec.Name, Run: u.run, Signal: syscall.SIGTERM})
}

func (c *Core) current(service string, run int) *unit {
	if u := c.units[service]; u != nil && u.live && u.run == run {
		return u
	}

	return nil
}

func round(d time.Duration) time.Duration {
	if d > time.Second {
		return d.Round(100 * time.Millisecond)
	}

	return d.Round(time.Millisecond)
}
