package reconcile

import (
	"context"
	"time"

	"github.com/cosi-project/runtime/pkg/controller"

	"github.com/dactyl-os/dactyl/services/kit/backoff"
	"github.com/dactyl-os/dactyl/services/kit/poke"
)

// Loop is the loop of a controller that also has a clock: it runs again after Every, and sooner when a step failed. A failure
// does not end it.
type Loop struct {
	// Every is the time between two runs without an event; 0: only events count.
	Every time.Duration
	// Retry are the pauses after a step that failed.
	Retry backoff.Backoff
	// Poke is one more reason for a run; nil: none.
	Poke poke.Chan
	// Failed hears of each failure and of the pause until the next attempt.
	Failed func(err error, pause time.Duration)
}

// Run runs the step at the start, at every event and when it is time, until ctx ends.
func (l Loop) Run(ctx context.Context, r controller.Runtime, step func() error) error {
	timer := time.NewTimer(time.Hour)
	timer.Stop()

	defer timer.Stop()

	for {
		select {
		case <-ctx.Done():
			return nil
		case <-r.EventCh():
		case <-l.Poke:
		case <-timer.C:
		}

		next := l.Every

		switch err := step(); {
		case ctx.Err() != nil:
			return nil
		case err == nil:
			l.Retry.Reset()
		default:
			next = l.Retry.Next()
			l.Failed(err, next)
		}

		timer.Stop()

		if next > 0 {
			timer.Reset(next)
		}

		r.ResetRestartBackoff()
	}
}
