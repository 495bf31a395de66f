package supervise

import (
	"fmt"
	"time"
)

// Start wants a service up, also one that was parked. The sentence says what that means.
func (c *Core) Start(now time.Time, service string) string {
	u := c.units[service]
	if u.live && u.state != Stopping {
		return fmt.Sprintf("Service %q is already running", service)
	}

	u.forgive()

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
	u.wanted, u.again, u.parked = false, false, false
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

	u.forgive()
	u.again = true
	c.end(u, now, "restarting, asked to")

	return fmt.Sprintf("Service %q restarted", service)
}

// forgive forgets earlier ends.
func (u *unit) forgive() {
	u.crashes, u.crashed, u.killed, u.retryAt, u.parked = 0, nil, nil, time.Time{}, false
}
