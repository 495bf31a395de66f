package router

import (
	"context"
	"errors"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/cosi-project/runtime/pkg/resource"
	"github.com/cosi-project/runtime/pkg/state"
)

// An owner that is away is asked again after retryMin, then ever more slowly up to retryMax.
const (
	retryMin = 10 * time.Millisecond
	retryMax = 500 * time.Millisecond
)

// grace is how long a resource may be missing from a restarted owner before it counts as destroyed: daemons publish
// step by step after a start, and what they publish again unchanged never went away.
const grace = time.Second

// wants is what the watcher asked for.
type wants struct {
	bookmark               state.Bookmark
	tail                   int
	contents, bootstrapped bool
	noop                   bool
	// single watches begin with the state of their one resource, also when there is none.
	single bool
}

// follower keeps one watch alive over any number of subscriptions.
type follower struct {
	subscribe subscribe
	out       output
	wants     wants
	kind      resource.Kind
	options   options

	view     *view
	bookmark state.Bookmark
	// begun is set when the watcher has got its first contents.
	begun bool
}

func newFollower(s subscribe, out output, w wants, kind resource.Kind, o options) *follower {
	return &follower{subscribe: s, out: out, wants: w, kind: kind, options: o, view: newView()}
}

// start opens the first subscription before it returns, and follows in the background.
func (f *follower) start(ctx context.Context) error {
	subCtx, cancel := context.WithCancel(ctx)
	ch := make(chan []state.Event)
	first := from{bookmark: f.wants.bookmark, tail: f.wants.tail}

	if err := f.subscribe(subCtx, first, ch); err != nil {
		cancel()

		return err
	}

	go func() {
		err := f.consume(ctx, first, ch)

		cancel()

		if !f.over(ctx, err) {
			f.run(ctx)
		}
	}()

	return nil
}

// run subscribes again and again until the watcher goes or the owner refuses for good.
func (f *follower) run(ctx context.Context) {
	delay := retryMin

	for ctx.Err() == nil {
		lasting, err := f.follow(ctx)
		if f.over(ctx, err) {
			return
		}

		if lasting {
			delay = retryMin
		}

		f.log(err)

		select {
		case <-ctx.Done():
		case <-time.After(delay):
			delay = min(2*delay, retryMax)
		}
	}
}

// log tells of a watch that broke; an owner that is away is no news.
func (f *follower) log(err error) {
	if err == nil || IsNoOwner(err) || status.Code(err) == codes.Unavailable {
		return
	}

	f.options.log.Warn("watch broke", "type", f.kind.Type(), "error", err)
}

// over tells whether the watch has ended, after telling the watcher of an error that will not pass.
func (f *follower) over(ctx context.Context, err error) bool {
	if ctx.Err() != nil {
		return true
	}

	if !permanent(err) {
		return false
	}

	f.out(ctx, []state.Event{{Type: state.Errored, Error: err}})

	return true
}

// follow runs one subscription to its end; lasting tells whether it held long enough to start over without delay.
func (f *follower) follow(ctx context.Context) (lasting bool, err error) {
	subCtx, cancel := context.WithCancel(ctx)
	defer cancel()

	ch := make(chan []state.Event)
	begin := f.next()

	err = f.subscribe(subCtx, begin, ch)
	if state.IsInvalidWatchBookmarkError(err) && begin.bookmark != nil {
		// The owner restarted or moved on too far: list again.
		f.bookmark = nil
		begin = from{}
		err = f.subscribe(subCtx, begin, ch)
	}

	if err != nil {
		return false, err
	}

	since := time.Now()
	err = f.consume(ctx, begin, ch)

	return time.Since(since) > retryMax, err
}

func (f *follower) next() from {
	switch {
	case f.bookmark != nil:
		return from{bookmark: f.bookmark}
	case f.begun:
		return from{}
	default:
		return from{bookmark: f.wants.bookmark, tail: f.wants.tail}
	}
}

var errEnded = errors.New("watch ended")

// consume hands the events of a subscription on until it breaks.
func (f *follower) consume(ctx context.Context, begin from, ch <-chan []state.Event) error {
	listing := begin.contents()
	if !listing {
		f.begun = true
	}

	var listed []resource.Resource

	timer := time.NewTimer(f.options.grace)
	defer timer.Stop()

	if listing || !f.view.expecting() {
		timer.Stop()
	}

	for {
		select {
		case <-ctx.Done():
			return errEnded
		case <-timer.C:
			if !f.out(ctx, f.view.giveUp()) {
				return errEnded
			}
		case events := <-ch:
			var out []state.Event

			for _, event := range events {
				switch {
				case event.Type == state.Errored:
					f.out(ctx, out)

					return event.Error
				case listing && event.Type == state.Bootstrapped:
					listing = false
					out = append(out, f.bootstrapped(event, listed)...)
					listed = nil

					if f.view.expecting() {
						timer.Reset(f.options.grace)
					}
				case listing && event.Type != state.Noop:
					listed = append(listed, event.Resource)
				default:
					out = f.view.apply(out, event)
				}

				if event.Bookmark != nil && !listing {
					f.bookmark = event.Bookmark
				}
			}

			if !f.out(ctx, out) {
				return errEnded
			}
		}
	}
}

// bootstrapped compares a complete list with what the watcher knows.
func (f *follower) bootstrapped(event state.Event, listed []resource.Resource) []state.Event {
	if f.begun {
		return f.view.replace(listed)
	}

	f.begun = true
	events := f.view.replace(listed)

	if !f.wants.contents {
		events = nil
	}

	if f.wants.single {
		if len(events) == 0 {
			tombstone := resource.NewTombstone(resource.NewMetadata(f.kind.Namespace(), f.kind.Type(), event.Resource.Metadata().ID(), resource.VersionUndefined))

			return []state.Event{{Type: state.Destroyed, Resource: tombstone, Bookmark: event.Bookmark}}
		}

		return events
	}

	for _, want := range []struct {
		asked bool
		typ   state.EventType
	}{{f.wants.bootstrapped, state.Bootstrapped}, {f.wants.noop, state.Noop}} {
		if want.asked {
			events = append(events, state.Event{Type: want.typ, Resource: event.Resource, Bookmark: event.Bookmark})
		}
	}

	return events
}

// permanent errors are a refusal, not an absence.
func permanent(err error) bool {
	if err == nil || IsNoOwner(err) {
		return false
	}

	switch status.Code(err) { //nolint:exhaustive
	case codes.PermissionDenied, codes.Unauthenticated, codes.InvalidArgument, codes.Unimplemented:
		return true
	default:
		return false
	}
}
