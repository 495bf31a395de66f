package controllers

import (
	"cmp"
	"slices"
	"strings"
)

// parallel is how many drivers look for their devices at the same time.
const parallel = 2

// Levels of urgency. One begins when the one before is done: while disks are looked for, the kernel lets no other driver end
// its start.
const (
	reachable = iota // what the node is reached by, and virtual disks, which come on the same bus
	disks            // and the power button: a node that runs is to hear it
	late             // what is only guessed at, and what no disk or network can hide behind: it begins lateAfter devices are ready
)

func urgency(alias string) int {
	has := func(prefixes ...string) bool {
		return slices.ContainsFunc(prefixes, func(p string) bool { return strings.HasPrefix(alias, p) })
	}

	switch {
	case has("virtio:"), has("pci:") && strings.Contains(alias, "bc02"):
		return reachable
	case has("acpi:LNXPWRBN:", "acpi:PNP0C0C:"):
		return disks
	case has("serio:", "input:", "cpu:", "dmi", "acpi:LNX", "acpi:PNP", "acpi:QEMU", "platform:pcspkr"):
		return late
	case has("pci:"):
		return ofPCI(alias)
	default:
		return disks
	}
}

// ofPCI goes by the class of a device: storage and memory cards; bridges and serial buses, which lead to others, but the SMBus.
func ofPCI(alias string) int {
	has := func(class string) bool { return strings.Contains(alias, class) }

	if has("bc01") || has("bc08sc05") || has("bc06") || has("bc0C") && !has("sc05") {
		return disks
	}

	return late
}

// queue decides which driver is loaded next. It is pure: what loads tells it when a load has ended.
type queue struct {
	// fits tells whether there is a driver to load for an alias. Most devices need none, or one that is built in.
	fits func(alias string) bool
	// idle: the node had its time to start, what is late may begin.
	idle bool

	seen    map[string]bool // aliases, also those without a driver
	pending []string        // aliases of devices whose driver is yet to be loaded
	running int
	level   int // urgency of what is running
}

func newQueue(fits func(string) bool) *queue { return &queue{fits: fits, seen: map[string]bool{}} }

// want notes a device that needs a driver.
func (q *queue) want(alias string) {
	if alias == "" || q.seen[alias] {
		return
	}

	q.seen[alias] = true

	if q.fits(alias) {
		q.pending = append(q.pending, alias)
		slices.SortStableFunc(q.pending, func(a, b string) int { return cmp.Compare(urgency(a), urgency(b)) })
	}
}

// next gives the most urgent device whose driver may be loaded now. It counts as running until ended is called.
func (q *queue) next() (alias string, ok bool) {
	if q.running >= parallel || len(q.pending) == 0 {
		return "", false
	}

	alias = q.pending[0]

	level := urgency(alias)
	if q.running > 0 && level > q.level || level == late && !q.idle {
		return "", false
	}

	q.pending = q.pending[1:]
	q.running++
	q.level = level

	return alias, true
}

func (q *queue) ended() { q.running-- }
