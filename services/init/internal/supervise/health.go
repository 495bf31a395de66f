package supervise

import (
	"fmt"
	"slices"
	"syscall"
	"time"
)

// Health of a service as its last check said.
type Health struct {
	Changed time.Time
	Message string
	Known   bool
	Healthy bool
}

// Check is the result of a health check.
type Check struct {
	Message string
	Healthy bool
	// Answered: a service that says it is not healthy still answers.
	Answered bool
}

// Checked tells the result of a health check.
func (c *Core) Checked(now time.Time, service string, run int, check Check) {
	u := c.current(service, run)
	if u == nil || !u.ready || u.state == Stopping || u.hung {
		return
	}

	check.Message = oneLine(check.Message)
	u.last = &check

	if health := u.judge(now, u.state); health != u.health {
		u.health = health
		c.event(u, now, u.state, health.sentence())
	}

	c.listen(u, now, check.Answered)
}

// listen ends a service that has been silent for too long. A check counts for a limited time, as the whole node may have slept.
func (c *Core) listen(u *unit, now time.Time, answered bool) {
	passed := min(now.Sub(u.asked), c.policy.CheckWithin)
	u.asked = now

	if answered {
		u.silence = 0

		return
	}

	u.silence += passed

	if u.spec.Hang == 0 || u.silence < u.spec.Hang {
		return
	}

	u.hung, u.killAt = true, now.Add(u.spec.StopTimeout)
	c.event(u, now, u.state, fmt.Sprintf("Ending PID %d, which has not answered for %s; its log shows where it stands", u.pid, round(u.silence)))
	c.effect(Signal{Service: u.spec.Name, Run: u.run, Signal: syscall.SIGQUIT})
}

// awaitReady sets how long a run may take until it serves. Of programs that are not ours nobody knows: they may wait for others.
func (c *Core) awaitReady(u *unit, now time.Time) {
	if !u.spec.Serves() || u.ready || u.state == Stopping {
		return
	}

	u.lateAt = now.Add(c.policy.Late)
	if u.spec.Hang > 0 {
		u.overdueAt = now.Add(u.spec.Hang)
	}
}

// late shows a run that does not serve yet, and ends one that has not for as long as it may be silent.
func (c *Core) late(u *unit, now time.Time) {
	if !u.live || u.ready || u.state == Stopping {
		u.lateAt, u.overdueAt = time.Time{}, time.Time{}

		return
	}

	if !u.lateAt.IsZero() && !now.Before(u.lateAt) {
		u.lateAt = time.Time{}
		u.health = Health{Changed: now, Known: true, Message: fmt.Sprintf("not serving %s after its start", c.policy.Late)}
		c.event(u, now, u.state, u.health.sentence())
	}

	if !u.overdueAt.IsZero() && !now.Before(u.overdueAt) {
		u.overdueAt = time.Time{}
		u.hung, u.killAt = true, now.Add(u.spec.StopTimeout)
		c.event(u, now, u.state, fmt.Sprintf("Ending PID %d, which does not serve %s after its start; its log shows where it stands", u.pid, u.spec.Hang))
		c.effect(Signal{Service: u.spec.Name, Run: u.run, Signal: syscall.SIGQUIT})
	}
}

// judge says what the last check means in a state: a service that has said that it is not running yet is not healthy by
// answering.
func (u *unit) judge(now time.Time, state State) Health {
	var health Health

	switch {
	case u.last == nil:
	case !u.last.Healthy:
		health = Health{Known: true, Message: u.last.Message}
	case state == Failed:
		health = Health{Known: true, Message: u.said}
	case state == Running:
		health = Health{Known: true, Healthy: true}
	}

	health.Changed = now
	if old := u.health; old.Known == health.Known && old.Healthy == health.Healthy && old.Message == health.Message {
		health.Changed = old.Changed
	}

	return health
}

func (h Health) sentence() string {
	switch {
	case !h.Known:
		return "Answers, and is not running yet"
	case h.Healthy:
		return "Health check successful"
	default:
		return "Health check failed: " + h.Message
	}
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

	message = oneLine(message)
	if last := u.history[len(u.history)-1]; last.State != state || last.Message != message {
		u.said = message
		u.health = u.judge(now, state)
		c.event(u, now, state, message)
	}

	return nil
}
