package supervise

import (
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"time"

	"github.com/dactyl-os/dactyl/services/init/internal/manifest"
)

// MaxDefined bounds how many units daemons may define on one node.
const MaxDefined = 256

// Errors of definitions that callers branch on.
var (
	ErrForbidden = errors.New("its manifest does not let it define that (defines:)")
	ErrBeyond    = errors.New("that is more than its manifest lets its units have")
	ErrTaken     = errors.New("the name is taken")
	ErrFull      = fmt.Errorf("%d units are defined already", MaxDefined)
)

// Outcome is what a definition did.
type Outcome string

// Outcomes of a definition: the unit is new; it is as it was; it was changed without touching its process, or with a restart.
const (
	Added     Outcome = "added"
	Unchanged Outcome = "unchanged"
	Changed   Outcome = "changed"
	Restarted Outcome = "restarted"
)

// Define adds a unit for the daemon owner, or changes one of its units as far as needed.
func (c *Core) Define(now time.Time, owner string, spec manifest.Manifest) (Outcome, error) {
	if c.stopping {
		return "", ErrDown
	}

	if err := c.mayDefine(owner, spec); err != nil {
		return "", err
	}

	if err := c.reorder(spec); err != nil {
		return "", err
	}

	c.effect(Open{Spec: spec})

	u := c.units[spec.Name]
	if u == nil {
		c.add(now, spec, owner, "Defined by "+owner)
		c.evaluate(now)

		return Added, nil
	}

	return c.change(u, now, spec), nil
}

func (c *Core) mayDefine(owner string, spec manifest.Manifest) error {
	definer := c.units[owner]
	for _, name := range spec.Names() {
		if definer == nil || definer.owner != "" || !manifest.Covers(definer.spec.Defines, name) {
			return fmt.Errorf("%q and the unit %q: %w", owner, name, ErrForbidden)
		}
	}

	if err := c.mayGive(definer.spec, spec); err != nil {
		return err
	}

	defined := 0

	for name, u := range c.units {
		if u.owner != "" && name != spec.Name {
			defined++
		}

		if name == spec.Name && u.owner != owner {
			return fmt.Errorf("%w: %s is not a unit of %s", ErrTaken, name, owner)
		}
	}

	if defined >= MaxDefined {
		return ErrFull
	}

	for _, name := range spec.Names() {
		if other, taken := c.alias[name]; taken && other != spec.Name {
			return fmt.Errorf("%w: %s has %q", ErrTaken, other, name)
		}
	}

	return nil
}

// mayGive refuses rights that the daemon that defines a unit has no say over: capabilities beyond those it may grant, root unless
// it is root itself, and the user of another daemon, whose files that would open.
func (c *Core) mayGive(definer, spec manifest.Manifest) error {
	for _, name := range spec.Capabilities {
		if !slices.Contains(definer.Grants, name) && !slices.Contains(definer.Grants, manifest.AllCapabilities) {
			return fmt.Errorf("%w: %s may not grant the capability %s (grants:)", ErrBeyond, definer.Name, name)
		}
	}

	if spec.User == definer.User {
		return nil
	}

	if definer.User != 0 {
		return fmt.Errorf("%w: %s runs as user %d, and so do its units", ErrBeyond, definer.Name, definer.User)
	}

	for _, u := range c.units {
		if u.owner == "" && u.spec.User == spec.User {
			return fmt.Errorf("%w: user %d is %s's", ErrBeyond, spec.User, u.spec.Name)
		}
	}

	return nil
}

// reorder gives the new unit its place in the order of starts. What it needs may still be unknown.
func (c *Core) reorder(spec manifest.Manifest) error {
	specs := []manifest.Manifest{spec}

	for name, u := range c.units {
		if name != spec.Name {
			specs = append(specs, u.spec)
		}
	}

	ordered, err := manifest.Order(specs)
	if circle := (*manifest.CircleError)(nil); errors.As(err, &circle) && slices.Contains(circle.Names, spec.Name) {
		return circle
	}

	c.order = nil
	for _, m := range ordered {
		c.order = append(c.order, m.Name)
	}

	return nil
}

// change gives a unit another spec. Only a process that was made in another way than the new spec says is made again.
func (c *Core) change(u *unit, now time.Time, spec manifest.Manifest) Outcome {
	same, remake := reflect.DeepEqual(u.spec, spec), !reflect.DeepEqual(process(u.spec), process(spec))
	if same && !u.gone {
		return Unchanged
	}

	c.unname(u)
	u.spec = spec
	c.nameUnit(u)

	switch {
	case u.gone: // on its way out: it comes back as what it is now
		u.gone, u.again = false, true
		c.event(u, now, u.state, fmt.Sprintf("Defined again by %s, starts again after its stop", u.owner))

		return Restarted
	case u.live && remake:
		u.again = u.wanted
		c.end(u, now, "its definition changed")
		u.forgive()

		return Restarted
	case u.parked, remake && u.succeeded():
		u.forgive()
		u.wanted = true
	}

	c.event(u, now, u.state, "Its definition changed")
	c.evaluate(now)

	return Changed
}

// process is what of a spec a running process cannot be told any more.
func process(spec manifest.Manifest) manifest.Manifest {
	spec.Restart, spec.Kill, spec.StopTimeout, spec.Hang = "", "", 0, 0
	spec.Needs, spec.Conditions, spec.Aliases = nil, nil, nil
	spec.Ready, spec.Health = manifest.Probe{}, manifest.Probe{}

	return spec
}

// Forget ends a unit of owner and removes it; false when there is none.
func (c *Core) Forget(now time.Time, owner, name string) (bool, error) {
	u := c.units[name]
	if u == nil {
		return false, nil
	}

	if u.owner != owner {
		return false, fmt.Errorf("%w: %s is not a unit of %s", ErrTaken, name, owner)
	}

	u.gone, u.wanted, u.again = true, false, false

	if u.live {
		c.end(u, now, "forgotten by "+owner)
	} else {
		c.remove(u, now)
	}

	return true, nil
}

func (c *Core) remove(u *unit, now time.Time) {
	name := u.spec.Name

	if u.state != Finished {
		c.event(u, now, Finished, "Forgotten by "+u.owner)
	}

	c.unname(u)
	delete(c.units, name)
	c.order = slices.DeleteFunc(c.order, func(other string) bool { return other == name })
	c.effect(Drop{Service: name})
}

func (c *Core) unname(u *unit) {
	maps.DeleteFunc(c.alias, func(_, name string) bool { return name == u.spec.Name })
}
