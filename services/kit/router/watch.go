package router

import (
	"context"

	"github.com/cosi-project/runtime/pkg/resource"
	"github.com/cosi-project/runtime/pkg/state"
)

// Watch one resource, wherever it lives.
func (r *Router) Watch(ctx context.Context, ptr resource.Pointer, ch chan<- state.Event, opts ...state.WatchOption) error {
	if r.isLocal(ptr.Type()) {
		return r.local.Watch(ctx, ptr, ch, opts...)
	}

	var o state.WatchOptions
	for _, opt := range opts {
		opt(&o)
	}

	f := newFollower(single(r.connect(ptr.Type(), o.UnmarshalOptions.SkipProtobufUnmarshal), ptr, o), toSingle(ch), wants{
		contents: true, single: true, bookmark: o.StartFromBookmark, tail: o.TailEvents,
	}, ptr, r.options)
	go f.run(ctx)

	return nil
}

// WatchKind watches a type, one event at a time.
func (r *Router) WatchKind(ctx context.Context, kind resource.Kind, ch chan<- state.Event, opts ...state.WatchKindOption) error {
	if r.isLocal(kind.Type()) {
		return r.local.WatchKind(ctx, kind, ch, opts...)
	}

	go r.followKind(kind, toSingle(ch), opts).run(ctx)

	return nil
}

// WatchKindAggregated watches a type, events in batches.
func (r *Router) WatchKindAggregated(ctx context.Context, kind resource.Kind, ch chan<- []state.Event, opts ...state.WatchKindOption) error {
	if r.isLocal(kind.Type()) {
		return r.local.WatchKindAggregated(ctx, kind, ch, opts...)
	}

	go r.followKind(kind, toBatches(ch), opts).run(ctx)

	return nil
}

func (r *Router) followKind(kind resource.Kind, out output, opts []state.WatchKindOption) *follower {
	o := kindOptions(opts)

	return newFollower(ofKind(r.connect(kind.Type(), o.UnmarshalOptions.SkipProtobufUnmarshal), kind, o), out, wants{
		// The watch is not there yet when the caller goes on, so what it finds is news to the caller.
		contents: true, bootstrapped: o.BootstrapContents, noop: o.BootstrapBookmark,
		bookmark: o.StartFromBookmark, tail: o.TailEvents,
	}, kind, r.options)
}

func (r *Router) isLocal(typ resource.Type) bool {
	def, ok := r.lookup(typ)

	return !ok || def.Owner == r.self
}

func (r *Router) connect(typ resource.Type, skipUnmarshal bool) func() (state.CoreState, error) {
	return func() (state.CoreState, error) {
		c, err := r.owner(typ)
		if err != nil {
			return nil, err
		}

		return c.pick(skipUnmarshal), nil
	}
}

// Resume wraps a client so that its watches survive broken connections: they go on from the last bookmark or, when the
// owner restarted, list again and deliver only differences. Unlike New's, a watch is established when it returns.
func Resume(client state.CoreState, opts ...Option) state.CoreState {
	return resuming{client, optionsOf(opts)}
}

type resuming struct {
	state.CoreState

	options options
}

// List the resources of a type.
func (r resuming) List(ctx context.Context, kind resource.Kind, opts ...state.ListOption) (resource.List, error) {
	return relist(ctx, r.CoreState, kind, opts)
}

// Watch one resource.
func (r resuming) Watch(ctx context.Context, ptr resource.Pointer, ch chan<- state.Event, opts ...state.WatchOption) error {
	var o state.WatchOptions
	for _, opt := range opts {
		opt(&o)
	}

	return newFollower(single(r.connect, ptr, o), toSingle(ch), wants{
		contents: true, single: true, bookmark: o.StartFromBookmark, tail: o.TailEvents,
	}, ptr, r.options).start(ctx)
}

// WatchKind watches a type, one event at a time.
func (r resuming) WatchKind(ctx context.Context, kind resource.Kind, ch chan<- state.Event, opts ...state.WatchKindOption) error {
	return r.followKind(kind, toSingle(ch), opts).start(ctx)
}

// WatchKindAggregated watches a type, events in batches.
func (r resuming) WatchKindAggregated(ctx context.Context, kind resource.Kind, ch chan<- []state.Event, opts ...state.WatchKindOption) error {
	return r.followKind(kind, toBatches(ch), opts).start(ctx)
}

func (r resuming) followKind(kind resource.Kind, out output, opts []state.WatchKindOption) *follower {
	o := kindOptions(opts)

	return newFollower(ofKind(r.connect, kind, o), out, wants{
		contents: o.BootstrapContents, bootstrapped: o.BootstrapContents, noop: o.BootstrapBookmark,
		bookmark: o.StartFromBookmark, tail: o.TailEvents,
	}, kind, r.options)
}

func (r resuming) connect() (state.CoreState, error) { return r.CoreState, nil }

func kindOptions(opts []state.WatchKindOption) state.WatchKindOptions {
	var o state.WatchKindOptions
	for _, opt := range opts {
		opt(&o)
	}

	return o
}
