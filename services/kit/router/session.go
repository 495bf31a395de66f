package router

import (
	"context"
	"errors"
	"time"

	"github.com/cosi-project/runtime/pkg/resource"
	"github.com/cosi-project/runtime/pkg/state"
)

var errEnded = errors.New("watch ended")

// session is one subscription of a follower: a complete list, unless it goes on from a bookmark, and then changes.
type session struct {
	*follower

	// listing holds until the list is complete; listed is what came of it.
	listing bool
	listed  []resource.Resource
	// grace ends the wait for what a restarted owner has not published again.
	grace *time.Timer
}

// consume hands the events of a subscription on until it breaks.
func (f *follower) consume(ctx context.Context, begin from, ch <-chan []state.Event) error {
	s := session{follower: f, listing: begin.contents(), grace: time.NewTimer(f.options.grace)}
	defer s.grace.Stop()

	if s.listing || !f.view.expecting() {
		s.grace.Stop()
	}

	if !s.listing {
		f.begin()
	}

	for {
		var (
			out    []state.Event
			broken error
		)

		select {
		case <-ctx.Done():
			return errEnded
		case <-s.grace.C:
			out = f.view.giveUp()
		case events := <-ch:
			out, broken = s.take(events)
		}

		if !f.out(ctx, out) {
			return errEnded
		}

		if broken != nil {
			return broken
		}
	}
}

// take gives what a batch of events tells the watcher, and the error of a subscription that broke.
func (s *session) take(events []state.Event) (out []state.Event, broken error) {
	for _, event := range events {
		switch {
		case event.Type == state.Errored:
			return out, event.Error
		case !s.listing:
			out = s.view.apply(out, event)
		case event.Type == state.Bootstrapped:
			out = append(out, s.complete(event)...)
		case event.Type != state.Noop:
			s.listed = append(s.listed, event.Resource)
		}

		if event.Bookmark != nil && !s.listing {
			s.bookmark = event.Bookmark
		}
	}

	return out, nil
}

// complete ends the list and gives what it tells the watcher: of the first one what was asked for, of a later one the
// difference.
func (s *session) complete(event state.Event) []state.Event {
	difference, first := s.view.replace(s.listed), !s.begun
	s.listing, s.listed = false, nil

	if s.view.expecting() {
		s.grace.Reset(s.options.grace)
	}

	s.begin()

	if !first {
		return difference
	}

	return s.first(event, difference)
}

// first answers a watcher that has been told nothing yet.
func (f *follower) first(event state.Event, contents []state.Event) []state.Event {
	if !f.wants.contents {
		contents = nil
	}

	switch {
	case f.wants.single && len(contents) == 0:
		tombstone := resource.NewTombstone(resource.NewMetadata(f.kind.Namespace(), f.kind.Type(), event.Resource.Metadata().ID(), resource.VersionUndefined))

		return []state.Event{{Type: state.Destroyed, Resource: tombstone, Bookmark: event.Bookmark}}
	case f.wants.single:
		return contents
	}

	if f.wants.bootstrapped {
		contents = append(contents, state.Event{Type: state.Bootstrapped, Resource: event.Resource, Bookmark: event.Bookmark})
	}

	if f.wants.noop {
		contents = append(contents, state.Event{Type: state.Noop, Resource: event.Resource, Bookmark: event.Bookmark})
	}

	return contents
}

// begin notes that the view is what the owner has.
func (f *follower) begin() {
	f.begun = true
	f.contents.known()
}
