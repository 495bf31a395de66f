// Package supervise decides what happens to services: which waits, which starts, which is restarted and when, which is
// given up, and in what order all of them stop. It is pure: inputs and a clock go in, effects and events come out.
package supervise

import (
	"fmt"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/dactyl-os/dactyl/services/init/internal/manifest"
)

// State of a service; the numbers are those of the API.
type State int

// States of a service.
const (
	Initialized State = iota
	Preparing
	Waiting
	Running
	Stopping
	Finished
	Failed
	Skipped
	Starting
)

// String is the state as clients show it.
func (s State) String() string {
	return [...]string{
		"Initialized", "Preparing", "Waiting", "Running", "Stopping", "Finished", "Failed", "Skipped", "Starting",
	}[s]
}

// Event is one transition, told in a sentence.
type Event struct {
	Time    time.Time
	Service string
	Message string
	Health  Health
	State   State
}

// Exit is how a process ended.
type Exit struct {
	// Status is a phrase: "exit status 2", "killed".
	Status string
	// Tail is the end of its log.
	Tail []string
	// Success is exit status zero; Killed is SIGKILL from outside, the one end that a process never chooses.
	Success, Killed bool
}

// Core holds every service. It is not safe for concurrent use: one goroutine owns it.
type Core struct {
	units    map[string]*unit
	alias    map[string]string
	emit     func(Event)
	order    []string
	effects  []Effect
	policy   Policy
	facts    map[manifest.Condition]Fact
	stopping bool
}

// New makes a core for services in start order; emit receives every event in order.
func New(policy Policy, manifests []manifest.Manifest, now time.Time, emit func(Event)) *Core {
	c := &Core{units: map[string]*unit{}, alias: map[string]string{}, policy: policy, emit: emit, facts: map[manifest.Condition]Fact{}}

	for _, m := range manifests {
		c.order = append(c.order, m.Name)
		c.add(now, m, "", "Known from its manifest")
	}

	return c
}

func (c *Core) add(now time.Time, spec manifest.Manifest, owner, sentence string) {
	u := &unit{spec: spec, owner: owner, wanted: true}
	c.units[spec.Name] = u
	c.nameUnit(u)
	c.event(u, now, Initialized, sentence)
}

func (c *Core) nameUnit(u *unit) {
	for _, name := range u.spec.Names() {
		c.alias[name] = u.spec.Name
	}
}

// Resolve gives the name behind a name or an alias.
func (c *Core) Resolve(name string) (string, bool) {
	real, known := c.alias[name]

	return real, known
}

// Boot starts what can start.
func (c *Core) Boot(now time.Time) { c.evaluate(now) }

// Tick acts on deadlines that have passed.
func (c *Core) Tick(now time.Time) {
	for _, name := range c.order {
		u := c.units[name]
		if u.live && !u.killAt.IsZero() && !now.Before(u.killAt) {
			u.killAt = time.Time{}
			c.event(u, now, Stopping, fmt.Sprintf("Killing PID %d: it did not end within %s", u.pid, u.spec.StopTimeout))
			c.effect(Signal{Service: name, Run: u.run, Signal: syscall.SIGKILL, Group: true})
		}

		c.late(u, now)
	}

	c.evaluate(now)
}

// Deadline is when Tick is next needed; false when nothing waits for time.
func (c *Core) Deadline() (time.Time, bool) {
	var next time.Time

	for _, u := range c.units {
		for _, at := range []time.Time{u.retryAt, u.killAt, u.lateAt, u.overdueAt} {
			if !at.IsZero() && (next.IsZero() || at.Before(next)) {
				next = at
			}
		}
	}

	return next, !next.IsZero()
}

// Effects hands over what is to be done, in order, and forgets it.
func (c *Core) Effects() []Effect {
	effects := c.effects
	c.effects = nil

	return effects
}

// Down tells that nothing runs any more after StopAll.
func (c *Core) Down() bool {
	return c.stopping && !slices.ContainsFunc(c.order, func(name string) bool { return c.units[name].live })
}

// StopAll ends every service, those that others need last. It is final.
func (c *Core) StopAll(now time.Time) {
	c.stopping = true
	c.evaluate(now)
}

func (c *Core) effect(e Effect) { c.effects = append(c.effects, e) }

func (c *Core) event(u *unit, now time.Time, state State, message string) {
	u.state = state
	e := Event{Time: now, Service: u.spec.Name, State: state, Message: oneLine(message), Health: u.health}
	u.history = append(u.history, e)

	if over := len(u.history) - c.policy.History; over > 0 {
		u.history = slices.Delete(u.history, 0, over)
	}

	c.emit(e)
}

// oneLine joins what would break the rows of a client's table.
func oneLine(text string) string {
	return strings.Join(strings.FieldsFunc(text, func(r rune) bool { return r == '\n' || r == '\r' || r == '\t' }), " | ")
}

// evaluate starts or stops whatever can be now. Stops go in reverse order: a service ends once nothing that needs it runs.
func (c *Core) evaluate(now time.Time) {
	if c.stopping {
		for _, name := range slices.Backward(c.order) {
			if !c.neededByLive(name) {
				c.end(c.units[name], now, "the node goes down")
			}
		}

		return
	}

	for _, name := range c.order {
		if u := c.units[name]; u.wanted && !u.live {
			c.tryStart(u, now)
		}
	}
}

func (c *Core) neededByLive(name string) bool {
	return slices.ContainsFunc(c.order, func(other string) bool {
		u := c.units[other]

		return u.live && slices.Contains(u.spec.Needs, name)
	})
}

func (c *Core) tryStart(u *unit, now time.Time) {
	if slices.ContainsFunc(u.spec.Conditions, func(cond manifest.Condition) bool { return c.facts[cond] == Never }) {
		u.wanted = false
		c.event(u, now, Skipped, "Not needed: this node is not a control plane")
		c.effect(Withdraw{Service: u.spec.Name})

		return
	}

	waits := c.unmet(u)
	if u.retryAt.After(now) {
		waits = append(waits, fmt.Sprintf("%s to pass before the next start", u.delay))
	}

	if len(waits) > 0 {
		if message := "Waiting for " + strings.Join(waits, ", "); u.state != Waiting || u.waiting != message {
			u.waiting = message
			c.event(u, now, Waiting, message)
		}

		return
	}

	u.run++
	u.live, u.ready, u.pid = true, false, 0
	u.retryAt, u.killAt = time.Time{}, time.Time{}
	c.event(u, now, Preparing, "Handing over sockets, log and limits")
	c.effect(Launch{Spec: u.spec, Run: u.run})
}
