package acquire

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"time"

	"github.com/dactyl-os/dactyl/services/kit/backoff"
	"github.com/dactyl-os/dactyl/services/kit/reconcile"
)

// Finder asks sources.
type Finder struct {
	// Variable gives a variable's value; an error means not yet.
	Variable func(ctx context.Context, name string) (string, error)
	// Volume reads a file of the volume with a label: ErrNoVolume or fs.ErrNotExist if there is none.
	Volume func(ctx context.Context, label, file string) ([]byte, error)
	// Take puts a configuration in force.
	Take func([]byte) error
	// Done says that there is one meanwhile.
	Done func() bool
	// Private says that only sources count that nobody on the network can play.
	Private func() bool
	// Asked is called after each round without a result: nil if no source has anything, else why what is there is of no use.
	Asked func(refused error) error
	Log   *slog.Logger
	// First and Most are the times between two rounds; 0 is 500 ms and 15 s.
	First, Most time.Duration
}

// errUnusable marks what a source has but cannot be a configuration.
var errUnusable = errors.New("it has a configuration that cannot be used")

// errNotPrivate is about sources that are passed over.
var errNotPrivate = errors.New("not asked over plain http for what replaces a damaged configuration: use https, inline or a volume")

// Run asks the sources in turn, again and again, until one's configuration was taken.
func (f Finder) Run(ctx context.Context, sources []Source) error {
	retry := backoff.Backoff{First: f.First, Most: f.Most}
	if retry.First == 0 {
		retry = backoff.Backoff{First: 500 * time.Millisecond, Most: 15 * time.Second}
	}

	var told reconcile.Told

	for attempt := 1; len(sources) > 0; attempt++ {
		done, err := f.round(ctx, sources, attempt, &told)
		if done || err != nil {
			return err
		}

		if !retry.Sleep(ctx) {
			return nil
		}
	}

	return nil
}

func (f Finder) round(ctx context.Context, sources []Source, attempt int, told *reconcile.Told) (done bool, err error) {
	var refused error

	for _, source := range sources {
		if f.Done() || ctx.Err() != nil {
			return true, nil
		}

		err := f.try(ctx, source)
		if err == nil {
			f.Log.Info("configuration acquired", "source", source.String(), "attempt", attempt)

			return true, nil
		}

		if errors.Is(err, errUnusable) {
			refused = errors.Join(refused, fmt.Errorf("%s: %w", source, err))
		}

		// A word each time would fill the log of a machine that waits for somebody.
		if told.News(source.String(), err.Error()) || attempt%20 == 0 {
			f.Log.Warn("no configuration yet", "source", source.String(), "attempt", attempt, "error", err)
		}
	}

	return false, f.Asked(refused)
}

func (f Finder) try(ctx context.Context, source Source) error {
	data, err := f.fetch(ctx, source)
	if err != nil {
		return err
	}

	if len(bytes.TrimSpace(data)) == 0 {
		return errors.New("it is empty")
	}

	if err := f.Take(data); err != nil {
		return fmt.Errorf("%w: %w", errUnusable, err)
	}

	return nil
}

func (f Finder) fetch(ctx context.Context, source Source) ([]byte, error) {
	switch {
	case source.Inline != "":
		return usable(Inline(source.Inline))
	case source.URL != "" && f.Private() && !source.Private():
		return nil, errNotPrivate
	case source.URL != "":
		return f.download(ctx, source.URL)
	}

	data, err := f.Volume(ctx, source.Label, source.File)
	if errors.Is(err, ErrNoVolume) || errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}

	return usable(data, err)
}

func usable(data []byte, err error) ([]byte, error) {
	if err != nil {
		err = fmt.Errorf("%w: %w", errUnusable, err)
	}

	return data, err
}
