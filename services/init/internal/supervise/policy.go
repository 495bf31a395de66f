package supervise

import (
	"slices"
	"time"
)

// Policy says how crashes are answered.
type Policy struct {
	// First is the delay before the second restart in a row (the first has none); each further one takes Factor times as long, up to Longest.
	First, Longest time.Duration
	Factor         int
	// Stable is how long a run must have served for its end to count as a new trouble rather than as the old one.
	Stable time.Duration
	// Kills within KillWindow cost a serving daemon nothing: that end comes from outside and says little about the daemon.
	// More of them are crashes, whoever sends them.
	Kills      int
	KillWindow time.Duration
	// CheckWithin is how long one health check without an answer counts at most.
	CheckWithin time.Duration
	// Late is how long a daemon may take from its start until it serves before that is shown.
	Late time.Duration
	// Limit crashes within Window park a service.
	Limit  int
	Window time.Duration
	// History is how many events are kept for each service.
	History int
}

// DefaultPolicy restarts at once, then after 0.25, 1 and 4 s, and parks at the fifth crash in 30 s; 20 kills a minute are free.
func DefaultPolicy() Policy {
	return Policy{
		First: 250 * time.Millisecond, Factor: 4, Longest: 10 * time.Second,
		Stable: 10 * time.Second, Kills: 20, KillWindow: time.Minute, CheckWithin: 10 * time.Second, Late: 15 * time.Second,
		Limit: 5, Window: 30 * time.Second, History: 32,
	}
}

// delay before the restart after the n-th crash in a row.
func (p Policy) delay(n int) time.Duration {
	if n <= 1 {
		return 0
	}

	d := p.First
	for range n - 2 {
		d = min(d*time.Duration(p.Factor), p.Longest)
	}

	return d
}

// settled tells whether the run that ends now had come to rest before.
func (p Policy) settled(u *unit, now time.Time) bool { return u.ready && now.Sub(u.served) >= p.Stable }

// free tells whether the run that ends now was killed from outside, seldom enough to cost nothing.
func (p Policy) free(u *unit, now time.Time, exit Exit) bool {
	if !exit.Killed || !u.ready || u.hung {
		return false
	}

	u.killed = slices.DeleteFunc(append(u.killed, now), func(at time.Time) bool { return now.Sub(at) > p.KillWindow })

	return len(u.killed) <= p.Kills
}
