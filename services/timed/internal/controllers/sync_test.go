package controllers

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"testing"
	"time"

	timeres "github.com/dactyl-os/dactyl/proto/resource/time"

	"github.com/dactyl-os/dactyl/services/timed/internal/discipline"
	"github.com/dactyl-os/dactyl/services/timed/internal/sntp"
)

// recorder is a clock that is only written about.
type recorder struct {
	did []string
	err error
}

func (r *recorder) Step(offset time.Duration) error {
	r.did = append(r.did, fmt.Sprintf("step %s", offset))

	return r.err
}

func (r *recorder) Slew(offset, poll time.Duration) error {
	r.did = append(r.did, fmt.Sprintf("slew %s for %s", offset, poll))

	return r.err
}

func TestTake(t *testing.T) {
	clock := &recorder{}
	c := &Sync{Clock: clock, Log: slog.New(slog.NewTextHandler(io.Discard, nil)), mode: discipline.Set}
	answer := func(offset time.Duration) result { return result{answer: sntp.Answer{Offset: offset}} }

	var polls []time.Duration

	for _, res := range []result{
		{err: errors.New("nobody answers")}, answer(time.Hour), answer(2 * time.Millisecond), {err: errors.New("nobody answers")},
	} {
		polls = append(polls, c.take(res))
	}

	if want := []string{"step 1h0m0s", "slew 2ms for 1m4s"}; !slices.Equal(clock.did, want) {
		t.Errorf("did %q, want %q", clock.did, want)
	}

	if want := []time.Duration{time.Second, 32 * time.Second, 64 * time.Second, 32 * time.Second}; !slices.Equal(polls, want) {
		t.Errorf("polls %v, want %v", polls, want)
	}

	if got, want := c.status(time.Now()), (timeres.StatusSpec{Synced: true, Epoch: 1}); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}

	// A clock that cannot be set is not right.
	c.state, clock.err = discipline.State{}, errors.New("not permitted")
	c.take(answer(time.Hour))

	if c.status(time.Now()).Synced {
		t.Error("synced although the step failed")
	}
}
