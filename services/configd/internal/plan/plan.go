// Package plan decides what a change of the configuration means: which daemons act on it, whether it needs a reboot, and
// what an apply of a mode does. It is pure.
package plan

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/dactyl-os/dactyl/proto/config/diff"
)

// Mode is how an apply is asked for.
type Mode int

// The modes.
const (
	Auto Mode = iota
	NoReboot
	Reboot
	Staged
	Try
)

// Action is what an apply does.
type Action int

// The actions.
const (
	// Activate persists the configuration and makes it the active one.
	Activate Action = iota
	// ActivateForAWhile makes it the active one until it is confirmed or its time is over.
	ActivateForAWhile
	// Stage keeps it for the next boot.
	Stage
	// StageAndReboot keeps it for the next boot and reboots.
	StageAndReboot
)

// String prints the action.
func (a Action) String() string {
	return [...]string{"activate", "activate for a while", "stage", "stage and reboot"}[a]
}

// Effects is what a change means.
type Effects struct {
	// Daemons act on the change, sorted.
	Daemons []string
	// Reboot lists the changes that only a boot takes up.
	Reboot []string
}

// Judge finds the effects of changes by the table of rules.
func Judge(changes []diff.Change) Effects {
	var effects Effects

	for _, change := range changes {
		r := find(change)
		effects.Daemons = append(effects.Daemons, r.daemons...)

		if r.reboot {
			effects.Reboot = append(effects.Reboot, change.String())
		}
	}

	slices.Sort(effects.Daemons)
	effects.Daemons = slices.Compact(effects.Daemons)

	return effects
}

// ErrNothingToFallBackTo refuses try in maintenance.
var ErrNothingToFallBackTo = errors.New("mode try needs a configuration to fall back to, and the machine has none: apply with mode auto")

// Decide picks the action. A machine without a configuration runs nothing that a reboot would have to take down.
func Decide(mode Mode, configured bool, effects Effects) (Action, error) {
	needsReboot := configured && len(effects.Reboot) > 0

	switch mode {
	case Auto:
		if needsReboot {
			return StageAndReboot, nil
		}

		return Activate, nil
	case NoReboot:
		if needsReboot {
			return 0, rebootError("no-reboot", effects)
		}

		return Activate, nil
	case Try:
		switch {
		case !configured:
			return 0, ErrNothingToFallBackTo
		case needsReboot:
			return 0, rebootError("try", effects)
		}

		return ActivateForAWhile, nil
	case Staged:
		return Stage, nil
	case Reboot:
		if !configured {
			return Activate, nil
		}

		return StageAndReboot, nil
	default:
		return 0, fmt.Errorf("unknown mode %d", mode)
	}
}

func rebootError(mode string, effects Effects) error {
	return fmt.Errorf("mode %s cannot apply changes that need a reboot: %s (hint: use mode reboot, staged or auto)", mode, strings.Join(effects.Reboot, ", "))
}
