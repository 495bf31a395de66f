package router

import (
	"context"

	"github.com/siderolabs/gen/channel"

	"github.com/cosi-project/runtime/pkg/resource"
	"github.com/cosi-project/runtime/pkg/state"
)

// from says where a subscription begins: at a bookmark, so many events back, or (neither) with the contents.
type from struct {
	bookmark state.Bookmark
	tail     int
}

func (f from) contents() bool { return f.bookmark == nil && f.tail == 0 }

// subscribe opens one watch at the owner; its events end with an Errored one when the owner goes away.
type subscribe func(ctx context.Context, from from, ch chan<- []state.Event) error

// single subscribes to one resource. Its contents are the first event; a Bootstrapped event is put behind it, so that
// both kinds of watch read alike.
func single(connect func() (state.CoreState, error), ptr resource.Pointer, o state.WatchOptions) subscribe {
	return func(ctx context.Context, from from, ch chan<- []state.Event) error {
		client, err := connect()
		if err != nil {
			return err
		}

		opts := []state.WatchOption{state.WithTailEvents(from.tail), state.WithStartFromBookmark(from.bookmark)}
		if o.UnmarshalOptions.SkipProtobufUnmarshal {
			opts = append(opts, state.WithWatchUnmarshalOptions(state.WithSkipProtobufUnmarshal()))
		}

		one := make(chan state.Event)
		if err := client.Watch(ctx, ptr, one, opts...); err != nil {
			return err
		}

		go forward(ctx, one, ch, from.contents())

		return nil
	}
}

func forward(ctx context.Context, one <-chan state.Event, ch chan<- []state.Event, contents bool) {
	for first := contents; ; first = false {
		select {
		case event := <-one:
			events := []state.Event{event}

			if first && event.Type != state.Errored {
				events = []state.Event{{Type: state.Bootstrapped, Resource: event.Resource, Bookmark: event.Bookmark}}
				if event.Type == state.Created {
					events = []state.Event{event, events[0]}
				}
			}

			if !channel.SendWithContext(ctx, ch, events) {
				return
			}
		case <-ctx.Done():
			return
		}
	}
}

// ofKind subscribes to a type.
func ofKind(connect func() (state.CoreState, error), kind resource.Kind, o state.WatchKindOptions) subscribe {
	return func(ctx context.Context, from from, ch chan<- []state.Event) error {
		client, err := connect()
		if err != nil {
			return err
		}

		return client.WatchKindAggregated(ctx, kind, ch, func(to *state.WatchKindOptions) {
			*to = state.WatchKindOptions{
				IDQuery:           o.IDQuery,
				LabelQueries:      o.LabelQueries,
				UnmarshalOptions:  o.UnmarshalOptions,
				BootstrapContents: from.contents(),
				StartFromBookmark: from.bookmark,
				TailEvents:        from.tail,
			}
		})
	}
}

// output hands events to the watcher; false when it is gone.
type output func(ctx context.Context, events []state.Event) bool

func toSingle(ch chan<- state.Event) output {
	return func(ctx context.Context, events []state.Event) bool {
		for _, event := range events {
			if !channel.SendWithContext(ctx, ch, event) {
				return false
			}
		}

		return true
	}
}

func toBatches(ch chan<- []state.Event) output {
	return func(ctx context.Context, events []state.Event) bool {
		return len(events) == 0 || channel.SendWithContext(ctx, ch, events)
	}
}
