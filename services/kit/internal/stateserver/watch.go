package stateserver

import (
	"context"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/cosi-project/runtime/api/v1alpha1"
	"github.com/cosi-project/runtime/pkg/resource"
	"github.com/cosi-project/runtime/pkg/state"

	"github.com/dactyl-os/dactyl/services/kit/internal/frame"
)

// batchBytes bounds a message of events well under gRPC's limit for a message received.
const batchBytes = 256 << 10

// pendingMax is how many events may wait for a slow client before the store's history has to hold them.
const pendingMax = 4096

// Watch sends an empty message when it is established, then events. Events that are ready together travel in one message.
func (s *Server) Watch(req *v1alpha1.WatchRequest, stream grpc.ServerStream) error {
	ctx, cancel := context.WithCancel(stream.Context())
	defer cancel()

	w, err := s.newWatch(ctx, req, stream)
	if err != nil {
		return err
	}

	s.Settled(ctx)

	one := make(chan state.Event)
	many := make(chan []state.Event)

	if err := s.subscribe(ctx, req, one, many); err != nil {
		return err
	}

	if err := stream.SendMsg(&v1alpha1.WatchResponse{}); err != nil {
		return err
	}

	return w.run(ctx, one, many)
}

func (s *Server) subscribe(ctx context.Context, req *v1alpha1.WatchRequest, one chan<- state.Event, many chan<- []state.Event) error {
	var err error

	if req.Id != nil {
		var opts []state.WatchOption
		if opts, err = watchOptions(req.GetOptions()); err == nil {
			err = s.store.Watch(ctx, resource.NewMetadata(req.GetNamespace(), req.GetType(), req.GetId(), resource.VersionUndefined), one, opts...)
		}
	} else {
		var opts []state.WatchKindOption
		if opts, err = watchKindOptions(req.GetOptions()); err == nil {
			err = s.store.WatchKindAggregated(ctx, resource.NewMetadata(req.GetNamespace(), req.GetType(), "", resource.VersionUndefined), many, opts...)
		}
	}

	return statusOf(err, codes.FailedPrecondition)
}

func watchOptions(in *v1alpha1.WatchOptions) ([]state.WatchOption, error) {
	if in.GetBootstrapContents() || in.GetLabelQuery() != nil {
		return nil, status.Error(codes.Unimplemented, "bootstrap contents and label queries apply to the watch of a kind, not of one resource")
	}

	var opts []state.WatchOption

	if in.GetTailEvents() > 0 {
		opts = append(opts, state.WithTailEvents(int(in.GetTailEvents())))
	}

	if in.GetStartFromBookmark() != nil {
		opts = append(opts, state.WithStartFromBookmark(in.GetStartFromBookmark()))
	}

	return opts, nil
}

func watchKindOptions(in *v1alpha1.WatchOptions) ([]state.WatchKindOption, error) {
	opts := []state.WatchKindOption{
		state.WithBootstrapContents(in.GetBootstrapContents()),
		state.WithBootstrapBookmark(in.GetBootstrapBookmark()),
	}

	if in.GetTailEvents() > 0 {
		opts = append(opts, state.WithKindTailEvents(int(in.GetTailEvents())))
	}

	if in.GetStartFromBookmark() != nil {
		opts = append(opts, state.WithKindStartFromBookmark(in.GetStartFromBookmark()))
	}

	labels, ids, err := queries(in.GetLabelQuery(), in.GetIdQuery())
	if err != nil {
		return nil, err
	}

	for _, query := range labels {
		opts = append(opts, state.WatchWithLabelQuery(query...))
	}

	return append(opts, state.WatchWithIDQuery(ids...)), nil
}

// watch is one stream of events to one client.
type watch struct {
	server *Server
	stream grpc.ServerStream
	view   view
	// Clients before API version 1 do not know Bootstrapped and Errored.
	old bool
}

func (s *Server) newWatch(ctx context.Context, req *v1alpha1.WatchRequest, stream grpc.ServerStream) (*watch, error) {
	view, err := s.view(ctx, req.GetType())
	if err != nil {
		return nil, err
	}

	return &watch{server: s, stream: stream, view: view, old: req.GetApiVersion() < 1}, nil
}

// run sends events until the watch ends. Nobody else sends, so that nothing is sent any more when it returns.
func (w *watch) run(ctx context.Context, one <-chan state.Event, many <-chan []state.Event) error {
	batches := make(chan []state.Event)
	go gather(ctx, one, many, batches)

	for {
		select {
		case batch := <-batches:
			if err := w.send(batch); err != nil {
				return err
			}
		case <-w.server.Stopping:
			return status.Errorf(codes.Unavailable, "%s is stopping", w.server.Self)
		case <-ctx.Done():
			return nil
		}
	}
}

// gather takes events as they come, also while the last ones are on their way: a client that is slow for a moment costs
// memory here, not its watch.
func gather(ctx context.Context, one <-chan state.Event, many <-chan []state.Event, batches chan<- []state.Event) {
	var pending []state.Event

	for {
		takeOne, takeMany, give := one, many, batches
		if len(pending) == 0 {
			give = nil
		}

		if len(pending) >= pendingMax {
			takeOne, takeMany = nil, nil
		}

		select {
		case event := <-takeOne:
			pending = append(pending, event)
		case events := <-takeMany:
			pending = append(pending, events...)
		case give <- pending:
			pending = nil
		case <-ctx.Done():
			return
		}
	}
}

func (w *watch) send(events []state.Event) error {
	var batch []byte

	for _, event := range events {
		if w.old && (event.Type == state.Bootstrapped || event.Type == state.Errored) {
			continue
		}

		wire, err := w.encode(event)
		if err != nil {
			return err
		}

		batch = appendEvent(batch, wire)

		if len(batch) >= batchBytes {
			if err := w.stream.SendMsg(frame.Raw{batch}); err != nil {
				return err
			}

			batch = nil
		}
	}

	if len(batch) > 0 {
		if err := w.stream.SendMsg(frame.Raw{batch}); err != nil {
			return err
		}
	}

	// After an error nothing follows: the watcher was too slow and has to list again.
	if n := len(events); n > 0 && events[n-1].Type == state.Errored {
		return status.Error(codes.ResourceExhausted, events[n-1].Error.Error())
	}

	return nil
}

func (w *watch) encode(event state.Event) (wireEvent, error) {
	wire := wireEvent{typ: wireType(event.Type), bookmark: event.Bookmark}

	if event.Error != nil {
		wire.err = event.Error.Error()
	}

	var err error

	if event.Old != nil && w.view.form != lean && w.view.form != redactedLean {
		if wire.old, err = w.server.cache.get(event.Old, w.view.form, w.view.redact); err != nil {
			return wire, err
		}
	}

	if event.Resource == nil {
		return wire, nil
	}

	wire.resource, err = w.server.cache.get(event.Resource, w.view.form, w.view.redact)

	if event.Type == state.Destroyed {
		w.server.cache.forget(event.Resource.Metadata())
	}

	return wire, err
}
