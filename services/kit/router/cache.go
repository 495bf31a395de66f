package router

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/cosi-project/runtime/pkg/resource"
	"github.com/cosi-project/runtime/pkg/state"
	"github.com/cosi-project/runtime/pkg/state/impl/inmem"

	"github.com/dactyl-os/dactyl/services/kit/dial"
)

// UnknownError says that the owner of a type has not told yet what it has: it is starting, hangs or was stopped.
type UnknownError struct {
	Type resource.Type
	// Err is what the last attempt to reach the owner said; nil when it has said nothing.
	Err error
}

// Error names the type.
func (e *UnknownError) Error() string {
	if e.Err == nil {
		return e.Type + " are not known yet: their owner does not answer"
	}

	return fmt.Sprintf("%s are not known yet: %v", e.Type, e.Err)
}

// Unwrap gives what the last attempt said.
func (e *UnknownError) Unwrap() error { return e.Err }

// GRPCStatus makes it Unavailable for callers of a method that passes it on.
func (e *UnknownError) GRPCStatus() *status.Status { return status.New(codes.Unavailable, e.Error()) }

// IsUnknown tells whether a read failed because the type's owner has told nothing yet.
func IsUnknown(err error) bool {
	var e *UnknownError

	return errors.As(err, &e)
}

// Cached is the state that controllers read: a foreign type that is watched through it is answered from what the watch
// told, without a call, whatever its owner does meanwhile. Until the owner has told its first contents, a read waits for
// it, but no longer than patience after the watch began, and is an UnknownError then; known is called when the contents of
// a type have come after such an error. A type whose owner is not on the node is empty.
func (r *Router) Cached(patience time.Duration, known func()) state.CoreState {
	return &cached{Router: r, patience: patience, known: known, followers: map[kindKey]*follower{}}
}

type kindKey struct {
	namespace resource.Namespace
	typ       resource.Type
}

type cached struct {
	*Router

	patience time.Duration
	known    func()

	mu        sync.Mutex
	followers map[kindKey]*follower
}

// WatchKindAggregated watches a type and answers reads of it from then on, until ctx ends.
func (c *cached) WatchKindAggregated(ctx context.Context, kind resource.Kind, ch chan<- []state.Event, opts ...state.WatchKindOption) error {
	o := kindOptions(opts)
	if c.isLocal(kind.Type()) || o.LabelQueries != nil || o.IDQuery.Regexp != nil || o.UnmarshalOptions.SkipProtobufUnmarshal {
		return c.Router.WatchKindAggregated(ctx, kind, ch, opts...)
	}

	key := kindKey{kind.Namespace(), kind.Type()}
	f := c.followKind(kind, toBatches(ch), opts)
	f.contents.until, f.contents.tell = time.Now().Add(c.patience), c.known

	c.mu.Lock()
	c.followers[key] = f
	c.mu.Unlock()

	go func() {
		f.run(ctx)

		c.mu.Lock()
		defer c.mu.Unlock()

		if c.followers[key] == f {
			delete(c.followers, key)
		}
	}()

	return nil
}

func (c *cached) follower(kind resource.Kind) *follower {
	c.mu.Lock()
	defer c.mu.Unlock()

	return c.followers[kindKey{kind.Namespace(), kind.Type()}]
}

// Get a resource as the watch told it.
func (c *cached) Get(ctx context.Context, ptr resource.Pointer, opts ...state.GetOption) (resource.Resource, error) {
	f := c.follower(ptr)
	if f == nil || len(opts) > 0 {
		return c.Router.Get(ctx, ptr, opts...)
	}

	if err := f.contents.await(ctx, ptr.Type()); err != nil {
		return nil, err
	}

	if r := f.view.get(ptr.ID()); r != nil {
		return r, nil
	}

	return nil, inmem.ErrNotFound(ptr)
}

// List the resources of a type as the watch told them.
func (c *cached) List(ctx context.Context, kind resource.Kind, opts ...state.ListOption) (resource.List, error) {
	var o state.ListOptions
	for _, opt := range opts {
		opt(&o)
	}

	f := c.follower(kind)
	if f == nil || o.UnmarshalOptions.SkipProtobufUnmarshal {
		return c.Router.List(ctx, kind, opts...)
	}

	if err := f.contents.await(ctx, kind.Type()); err != nil {
		return resource.List{}, err
	}

	return resource.List{Items: f.view.list(o)}, nil
}

// contents tells readers whether a view can be read.
type contents struct {
	mu sync.Mutex
	// there is set when the owner has told what it has; err is how the last attempt to ask it ended.
	there bool
	err   error
	// refused is set when a reader went away without an answer: it is to be told.
	refused bool
	// changed is closed when there or err change.
	changed chan struct{}

	// Readers wait until then; tell is called when there is something for one that went away.
	until time.Time
	tell  func()
}

func newContents() *contents { return &contents{changed: make(chan struct{})} }

// known notes that the owner has told what it has.
func (c *contents) known() {
	c.mu.Lock()
	defer c.mu.Unlock()

	if c.there {
		return
	}

	c.there = true
	close(c.changed)

	if c.refused {
		c.tell()
	}
}

// tried notes how an attempt to ask the owner ended.
func (c *contents) tried(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()

	if c.there {
		return
	}

	c.err = err
	close(c.changed)
	c.changed = make(chan struct{})
}

// await returns when the view can be read. An owner that is not on the node has nothing, one that was stopped is not waited
// for.
func (c *contents) await(ctx context.Context, typ resource.Type) error {
	timer := time.NewTimer(time.Until(c.until))
	defer timer.Stop()

	for over := false; ; {
		changed, err := c.look(typ, over)
		if changed == nil {
			return err
		}

		select {
		case <-changed:
		case <-timer.C:
			over = true
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// look gives a reader its answer, or what to wait for.
func (c *contents) look(typ resource.Type, over bool) (<-chan struct{}, error) {
	c.mu.Lock()
	defer c.mu.Unlock()

	switch {
	case c.there || IsNoOwner(c.err):
		return nil, nil
	case over || dial.IsStopped(c.err):
		c.refused = true

		return nil, &UnknownError{Type: typ, Err: c.err}
	default:
		return c.changed, nil
	}
}
