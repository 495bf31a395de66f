package supervise

import (
	"maps"
	"slices"
	"time"

	"github.com/dactyl-os/dactyl/services/init/internal/manifest"
)

// Fact is what is known about a condition.
type Fact int

// A condition is not met, met, or cannot be on this node.
const (
	Unmet Fact = iota
	Met
	Never
)

// Learn tells the core what is known about conditions; what it is not told stays as it was.
func (c *Core) Learn(now time.Time, facts map[manifest.Condition]Fact) {
	maps.Copy(c.facts, facts)
	c.evaluate(now)
}

// Conditions are all that services wait for at their start, now or later, each once.
func (c *Core) Conditions() []manifest.Condition {
	seen := map[manifest.Condition]bool{}

	for _, u := range c.units {
		for _, condition := range u.spec.Conditions {
			seen[condition] = true
		}
	}

	return slices.Sorted(maps.Keys(seen))
}

// Awaited tells whether a service waits for the condition now.
func (c *Core) Awaited(condition manifest.Condition) bool {
	for _, u := range c.units {
		if u.wanted && !u.live && slices.Contains(u.spec.Conditions, condition) {
			return true
		}
	}

	return false
}

// unmet names what a service waits for.
func (c *Core) unmet(u *unit) []string {
	var waits []string

	for _, need := range u.spec.Awaits() {
		if !c.up(need) {
			waits = append(waits, manifest.Condition("service:"+need).String())
		}
	}

	for _, condition := range u.spec.Conditions {
		met := c.facts[condition] == Met
		if name, is := condition.Service(); is {
			met = c.up(name)
		}

		if sentence := condition.String(); !met && !slices.Contains(waits, sentence) {
			waits = append(waits, sentence)
		}
	}

	return waits
}

// up tells whether a service, by its name or an alias, serves or has done its work.
func (c *Core) up(name string) bool {
	u := c.units[c.alias[name]]

	return u != nil && (u.ready || u.succeeded())
}
