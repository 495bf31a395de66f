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
	// killed are kills from outside that cost nothing.
	killed  []time.Time
	history []Event
	// owner is the daemon that defined the unit; empty when its manifest is of the image.
	owner   string
	waiting string
	// said is what it last reported.
	said    string
	version string
	state   State
	run     int
	pid     int
	crashes int
	delay   time.Duration
	// wanted: it is to run when it can. live: a process exists or is being made. ready: it serves.
	wanted, live, ready bool
	// again: start once more after the stop that is going on. gone: forget it after that.
	again, gone bool
	// parked: it was given up.
	parked bool
	// last is the last health check of this run, silence how long the last ones went without an answer. hung: it is being
	// ended for that.
	last    *Check
	asked   time.Time
	silence time.Duration
	hung    bool
	// lateAt is when a run that does not serve yet is shown for it, overdueAt when it is ended for it.
	lateAt, overdueAt time.Time
}

// ended begins the sentence about a process that ended, or never was.
func (u *unit) ended() string {
	if u.pid == 0 {
		return "Not started"
	}

	if u.hung && !u.ready {
		return fmt.Sprintf("PID %d did not serve within %s and was ended", u.pid, u.spec.Hang)
	}

	if u.hung {
		return fmt.Sprintf("PID %d did not answer for %s and was ended", u.pid, round(u.silence))
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
	c.awaitReady(u, now)

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
	if u == nil || u.ready || u.state == Stopping || u.hung {
		return
	}

	u.health = Health{Changed: now} // what its late start made of it
	u.ready, u.served, u.version, u.asked = true, now, version, now
	u.lateAt, u.overdueAt = time.Time{}, time.Time{}
	sentence := fmt.Sprintf("Serving as PID %d after %s", u.pid, round(now.Sub(u.started)))

	if version != "" {
		sentence += ", version " + version
	}

	c.event(u, now, Running, sentence)
	c.evaluate(now)
}

// Exited tells that a process has ended.
func (c *Core) Exited(now time.Time, service string, run int, exit Exit) {
	u := c.current(service, run)
	if u == nil {
		return
	}

	stopped := u.state == Stopping && !u.hung
	free, settled := c.policy.free(u, now, exit), c.policy.settled(u, now)
	how := u.ended()
	u.live, u.ready, u.killAt = false, false, time.Time{}
	u.lateAt, u.overdueAt = time.Time{}, time.Time{}
	u.health, u.last = Health{Changed: now}, nil

	switch {
	case stopped:
		c.event(u, now, Finished, fmt.Sprintf("Stopped (%s)", exit.Status))
		u.wanted, u.again = u.again, false
	case u.spec.Restart == manifest.RestartNever, u.spec.Restart == manifest.RestartOnce && exit.Success:
		u.wanted = false
		c.event(u, now, outcome(exit), fmt.Sprintf("PID %d ended (%s)%s", u.pid, exit.Status, quote(exit)))
	case free:
		c.event(u, now, Failed, fmt.Sprintf("%s (%s), restarting at once", how, exit.Status))
	default:
		c.crash(u, now, exit, how, settled)
	}

	u.hung, u.silence = false, 0

	if u.gone && !u.wanted {
		c.remove(u, now)
	} else if !u.wanted && !c.stopping {
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
func (c *Core) crash(u *unit, now time.Time, exit Exit, how string, settled bool) {
	if settled {
		u.crashes, u.crashed = 0, nil
	}

	u.crashes++
	u.crashed = append(u.crashed, now)
	u.crashed = slices.DeleteFunc(u.crashed, func(at time.Time) bool { return now.Sub(at) > c.policy.Window })

	if len(u.crashed) >= c.policy.Limit {
		u.wanted, u.parked = false, true
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

	c.event(u, now, Failed, fmt.Sprintf("%s (%s), %s", how, exit.Status, next))
}

// quote sets the end of the log behind a sentence.
func quote(exit Exit) string {
	if exit.Success || len(exit.Tail) == 0 {
		return ""
	}

	return "; its last log lines: " + strings.Join(exit.Tail, " | ")
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
