// Package discipline decides what to do about the clock. It is pure: measurements in, decisions out.
package discipline

import (
	"fmt"
	"time"
)

// Limits of the decisions.
const (
	// StepLimit is the offset from which a clock is stepped; below it is slewed (RFC 5905, STEPT).
	StepLimit = 128 * time.Millisecond
	// EpochLimit is the step after which earlier time stamps are not comparable with later ones.
	EpochLimit = 15 * time.Minute
	// MinPoll is the shortest time between two measurements.
	MinPoll = 32 * time.Second
	// MaxPoll is the longest.
	MaxPoll = 1024 * time.Second
	// firstRetry is the wait after the first failure before the clock was ever right; it doubles up to MinPoll.
	firstRetry = time.Second
	// calm and restless are the offsets below and above which the poll interval is doubled and halved.
	calm, restless = 4 * time.Millisecond, 32 * time.Millisecond
	// maxRoundTrip is when an answer says too little about the time.
	maxRoundTrip = time.Second
)

// Mode is what timed may do.
type Mode int

const (
	// Off asks nobody: the clock is somebody else's.
	Off Mode = iota
	// Watch asks and tells.
	Watch
	// Set asks and corrects.
	Set
)

// Facts decide the mode.
type Facts struct {
	// Platform is talos.platform of the kernel command line.
	Platform string
	// Disabled is machine.time.disabled.
	Disabled bool
	// MaySet says that the daemon is on a machine of its own, told to set its clock, and able to.
	MaySet bool
}

// ModeOf gives the mode and why.
func ModeOf(f Facts) (Mode, string) {
	switch {
	case f.Platform == "container":
		return Off, "the clock of a container is its host's"
	case f.Disabled:
		return Off, "machine.time.disabled is set"
	case !f.MaySet:
		return Watch, "this daemon may not set the clock"
	default:
		return Set, "the clock is this machine's"
	}
}

// Sample is one measurement.
type Sample struct {
	// Offset is what has to be added to the clock.
	Offset time.Duration
	// RoundTrip is the time the question and its answer took.
	RoundTrip time.Duration
}

// Action is what to do to the clock.
type Action int

const (
	// Leave does nothing.
	Leave Action = iota
	// Slew corrects bit by bit; the time never jumps.
	Slew
	// Step sets the time.
	Step
)

// String is the action as a word.
func (a Action) String() string {
	switch a {
	case Leave:
		return "leave"
	case Slew:
		return "slew"
	case Step:
		return "step"
	default:
		return fmt.Sprintf("action-%d", int(a))
	}
}

// State is what is remembered between measurements. The zero State is a clock never measured.
type State struct {
	// Synced says that the clock is right within StepLimit.
	Synced bool
	// Epoch counts the big steps.
	Epoch int
	// Poll is the wait before the next measurement.
	Poll time.Duration
	// Suspects counts the measurements in a row that ask for a step of a clock that was right: one may be a spike.
	Suspects int
}

// Measured takes a sample into account.
func (s State) Measured(mode Mode, m Sample) (State, Action) {
	if m.RoundTrip > maxRoundTrip && s.Synced {
		return s.Failed(), Leave
	}

	offset := m.Offset.Abs()
	poll := max(s.Poll, MinPoll)

	switch {
	case offset >= StepLimit && mode != Set:
		return State{Epoch: s.Epoch, Poll: MinPoll}, Leave
	case offset >= StepLimit && s.Synced && s.Suspects == 0:
		s.Suspects, s.Poll = 1, MinPoll

		return s, Leave
	case offset >= StepLimit:
		if offset >= EpochLimit {
			s.Epoch++
		}

		return State{Synced: true, Epoch: s.Epoch, Poll: MinPoll}, Step
	case offset < calm && s.Synced:
		poll = min(2*poll, MaxPoll)
	case offset > restless:
		poll = max(poll/2, MinPoll)
	}

	next := State{Synced: true, Epoch: s.Epoch, Poll: poll}
	if mode != Set {
		return next, Leave
	}

	return next, Slew
}

// Failed takes into account that nobody gave the time.
func (s State) Failed() State {
	if s.Synced {
		s.Poll = MinPoll
	} else {
		s.Poll = min(max(2*s.Poll, firstRetry), MinPoll)
	}

	return s
}
