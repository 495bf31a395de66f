package supervise

import (
	"slices"

	"github.com/dactyl-os/dactyl/services/init/internal/manifest"
)

// Status is one service as clients see it.
type Status struct {
	Name string
	// Version is what the last run that served said of itself: tag and commit.
	Version string
	Aliases []string
	Events  []Event
	Health  Health
	State   State
	PID     int
	Run     int
	Ready   bool
	// Wanted is set while the service is meant to run on this node.
	Wanted bool
}

// Status gives a copy of every service in start order.
func (c *Core) Status() []Status {
	out := make([]Status, 0, len(c.order))

	for _, name := range c.order {
		u := c.units[name]

		pid := 0
		if u.live {
			pid = u.pid
		}

		out = append(out, Status{
			Name: name, Version: u.version, Aliases: u.spec.Aliases, Events: slices.Clone(u.history), Health: u.health, State: u.state,
			PID: pid, Run: u.run, Ready: u.ready, Wanted: u.wanted,
		})
	}

	return out
}

// Served is a service that serves, and its run.
type Served struct {
	Spec manifest.Manifest
	Run  int
}

// Serving gives every service that serves. It is asked often and copies nothing else.
func (c *Core) Serving() []Served {
	var out []Served

	for _, name := range c.order {
		if u := c.units[name]; u.ready && u.state != Stopping {
			out = append(out, Served{Spec: u.spec, Run: u.run})
		}
	}

	return out
}
