// Package metastore keeps META: what a change is acknowledged for is at home, the place that lasts. Before a machine has a
// META partition, values wait in memory and in a file of this boot.
package metastore

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"sync"
	"time"

	"github.com/dactyl-os/dactyl/proto/meta"
	"github.com/dactyl-os/dactyl/services/configd/internal/store"
	"github.com/dactyl-os/dactyl/services/kit/poke"
)

// ErrNoHome tells that the machine has no META partition yet.
var ErrNoHome = errors.New("there is no META partition yet")

// DefaultLimit bounds one reading or writing: diskd may be restarting, and a disk may be slow.
const DefaultLimit = time.Minute

// Place keeps META's bytes for good.
type Place interface {
	// Read gives the bytes, nil if nothing was written yet. ErrNoHome: there is no such place yet.
	Read(ctx context.Context) ([]byte, error)
	// Write replaces the bytes; they last when it returns.
	Write(ctx context.Context, data []byte) error
}

// Store is META. Its methods may be called at once.
type Store struct {
	Home Place
	// Waiting is where values wait for a Home.
	Waiting store.File
	// Aside takes bytes that are damaged, so that writing a value destroys nothing that might be saved.
	Aside store.File
	// Given are the kernel command line's values. They fill keys that have none: what was written since counts more.
	Given meta.Values
	// Publish makes values known.
	Publish func(meta.Values) error
	Log     *slog.Logger
	// Limit and Pause, if set, replace DefaultLimit and the time before what could not be read is read again.
	Limit, Pause time.Duration

	mu         sync.Mutex
	values     meta.Values
	generation uint64
	// known: the values are those that are kept. Not so before the first reading, and after a writing that may or may not
	// have been done.
	known bool
	// home: they are kept at Home.
	home  bool
	again poke.Chan
}

// Open reads what there is and publishes it. What cannot be read now is read again by Run, and before any change.
func (s *Store) Open(ctx context.Context) {
	s.mu.Lock()
	defer s.mu.Unlock()

	s.again = poke.New()

	if err := s.load(ctx); err != nil {
		s.Log.Error("META is not known yet", "error", err)
	}
}

// Run reads again what could not be read, until ctx ends.
func (s *Store) Run(ctx context.Context) error {
	pause := cmp.Or(s.Pause, 2*time.Second)

	for {
		select {
		case <-ctx.Done():
			return nil
		case <-s.again:
		}

		select {
		case <-ctx.Done():
			return nil
		case <-time.After(pause):
		}

		if err := s.reread(ctx); err != nil {
			s.Log.Warn("META is not known yet", "error", err)
		}
	}
}

func (s *Store) reread(ctx context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()

	if s.known {
		return nil
	}

	return s.load(ctx)
}

// Settle brings home what waited, once there is a home.
func (s *Store) Settle(ctx context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()

	if s.known && s.home {
		return nil
	}

	return s.load(ctx)
}

// Change works on a copy of the values, which is kept and published before Change returns without an error. Who called may
// be gone meanwhile: a change that was begun is not given up.
func (s *Store) Change(ctx context.Context, change func(meta.Values) error) error {
	ctx = context.WithoutCancel(ctx)

	s.mu.Lock()
	defer s.mu.Unlock()

	// A disk may have come while values waited for one.
	if !s.known || !s.home {
		if err := s.load(ctx); err != nil {
			return err
		}
	}

	next := maps.Clone(s.values)

	if err := change(next); err != nil {
		return err
	}

	if err := s.keep(ctx, next); err != nil {
		return err
	}

	return s.Publish(next)
}

// load takes what is kept, and what is to be added to it, and publishes it.
func (s *Store) load(ctx context.Context) (err error) {
	defer func() {
		if err != nil {
			s.doubt()
		}
	}()

	waiting, err := s.waiting()
	if err != nil {
		return err
	}

	values, err := s.readHome(ctx)

	s.home = !errors.Is(err, ErrNoHome)
	if err != nil && s.home {
		return err
	}

	if !s.home {
		values = waiting
	}

	s.values = values

	// Also when nothing was kept yet: from then on what is missing was deleted.
	if next := merge(values, waiting, s.Given); values == nil || !equal(values, next) {
		if err := s.keep(ctx, next); err != nil {
			return err
		}
	}

	if s.home {
		if err := s.Waiting.Remove(); err != nil {
			return fmt.Errorf("forget META that waited: %w", err)
		}
	}

	s.known = true

	return s.Publish(s.values)
}

func (s *Store) readHome(ctx context.Context) (meta.Values, error) {
	ctx, cancel := s.limited(ctx)
	defer cancel()

	data, err := s.Home.Read(ctx)
	if err != nil {
		return nil, fmt.Errorf("read META: %w", err)
	}

	values, generation, err := meta.Decode(data)
	if err != nil {
		s.Log.Error("META set aside", "file", s.Aside, "error", err)

		if err := s.Aside.Write(ctx, data); err != nil {
			return nil, fmt.Errorf("set META aside: %w", err)
		}

		values = meta.Values{}
	}

	s.generation = generation

	return values, nil
}

// waiting gives nil if nothing waits.
func (s *Store) waiting() (meta.Values, error) {
	data, err := s.Waiting.Read(context.Background())
	if err != nil {
		return nil, fmt.Errorf("read META that waits: %w", err)
	}

	if data == nil {
		return nil, nil
	}

	values, generation, err := meta.Decode(data)
	if err != nil {
		return nil, fmt.Errorf("read META that waits: %w", err)
	}

	s.generation = max(s.generation, generation)

	return values, nil
}

// merge adds to what was kept what waited, or at first what the kernel command line gives. Of a key that has both, the
// value that waited counts, unless it is only the command line's.
func merge(kept, waiting, given meta.Values) meta.Values {
	next := meta.Values{}

	if waiting == nil {
		maps.Copy(next, given)
		maps.Copy(next, kept)

		return next
	}

	maps.Copy(next, kept)

	for key, value := range waiting {
		if _, has := kept[key]; !has || !bytes.Equal(given[key], value) {
			next[key] = value
		}
	}

	return next
}

func (s *Store) keep(ctx context.Context, next meta.Values) error {
	data, err := meta.Encode(next, s.generation+1)
	if err != nil {
		return err
	}

	ctx, cancel := s.limited(ctx)
	defer cancel()

	var place Place = s.Waiting
	if s.home {
		place = s.Home
	}

	if err := place.Write(ctx, data); err != nil {
		s.doubt()

		return fmt.Errorf("write META: %w", err)
	}

	s.values, s.generation = next, s.generation+1

	return nil
}

// doubt has META read again.
func (s *Store) doubt() {
	s.known = false
	s.again.Poke()
}

func (s *Store) limited(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(ctx, cmp.Or(s.Limit, DefaultLimit))
}

func equal(a, b meta.Values) bool { return maps.EqualFunc(a, b, bytes.Equal) }
