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
	return Timed(ctx, r, l.Poke, func() (time.Duration, error) {
		switch err := step(); {
		case err == nil:
			l.Retry.Reset()

			return l.Every, nil
		case ctx.Err() != nil:
			return 0, nil
		default:
			pause := l.Retry.Next()
			l.Failed(err, pause)

			return pause, nil
		}
	})
}

// Timed runs the step at the start, at every event and poke (nil: none), and when the time is over that it gave last (0: only
// they count), until ctx ends or a step fails.
func Timed(ctx context.Context, r controller.Runtime, poke <-chan struct{}, step func() (next time.Duration, err error)) error {
	timer := time.NewTimer(time.Hour)
	timer.Stop()

	defer timer.Stop()

	for {
		select {
		case <-ctx.Done():
			return nil
		case <-r.EventCh():
		case <-poke:
		case <-timer.C:
		}

		next, err := step()

		switch {
		case ctx.Err() != nil:
			return nil
		case err != nil:
			return err
		}

		timer.Stop()

		if next > 0 {
			timer.Reset(next)
		}

		r.ResetRestartBackoff()
	}
}
