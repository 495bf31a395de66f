// Package router makes the resources of every daemon look like one state: a type owned here is served by the local
// store, any other type by its owner's socket, and watches survive the owner's restart.
package router

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/cosi-project/runtime/api/v1alpha1"
	"github.com/cosi-project/runtime/pkg/resource"
	"github.com/cosi-project/runtime/pkg/state"
	"github.com/cosi-project/runtime/pkg/state/impl/inmem"
	"github.com/cosi-project/runtime/pkg/state/protobuf/client"

	"github.com/dactyl-os/dactyl/services/kit/dial"
	"github.com/dactyl-os/dactyl/services/kit/internal/catalog"
	"github.com/dactyl-os/dactyl/services/kit/internal/stateserver"
	"github.com/dactyl-os/dactyl/services/kit/peer"
)

// NoOwnerError says that what is to be written has its owner not on this node. At the RPC edge it is Unimplemented.
type NoOwnerError struct {
	Type  resource.Type
	Owner string
	Err   error
}

// Error names the type, its owner and what is missing.
func (e *NoOwnerError) Error() string {
	return fmt.Sprintf("%s is owned by %s, which this node does not run: %v", e.Type, e.Owner, e.Err)
}

// Unwrap gives what dialling the owner said.
func (e *NoOwnerError) Unwrap() error { return e.Err }

// GRPCStatus makes it Unimplemented for callers of a method that passes it on.
func (e *NoOwnerError) GRPCStatus() *status.Status {
	return status.New(codes.Unimplemented, e.Error())
}

// IsNoOwner tells whether an operation failed because the type's owner does not run on this node.
func IsNoOwner(err error) bool {
	var e *NoOwnerError

	return errors.As(err, &e)
}

type options struct {
	lookup catalog.Lookup
	log    *slog.Logger
	grace  time.Duration
}

func optionsOf(opts []Option) options {
	o := options{lookup: catalog.Declared, log: slog.New(slog.DiscardHandler), grace: grace}
	for _, opt := range opts {
		opt(&o)
	}

	return o
}

// Option changes how New and Resume work.
type Option func(*options)

// WithTypes replaces the declarations of proto/resource, for tests and for daemons with types of their own.
func WithTypes(lookup catalog.Lookup) Option { return func(o *options) { o.lookup = lookup } }

// WithLog tells where to log watches that break.
func WithLog(log *slog.Logger) Option { return func(o *options) { o.log = log } }

// WithGrace changes how long a resource may be missing from a restarted owner before it counts as destroyed.
func WithGrace(d time.Duration) Option { return func(o *options) { o.grace = d } }

// New routes by resource type: types owned by self go to local, others to dial(owner); dial's error means that the owner
// does not run here, so that the type is empty and cannot be written. Types nobody declared are local. A watch returns at once, also while its owner is away, and then
// tells what is there as Created events, whether or not the caller asked for the contents. A write that breaks off with its
// owner is Unavailable and not repeated: nobody knows whether it was stored.
func New(self string, local state.CoreState, dial func(owner string) (*grpc.ClientConn, error), opts ...Option) *Router {
	return &Router{self: self, local: Local(local), dial: dial, options: optionsOf(opts), clients: map[string]*remote{}}
}

// Local wraps a daemon's own store so that its watches survive bursts that the store's history does not hold: such a
// watch lists again and delivers only differences.
func Local(store state.CoreState) state.CoreState { return Resume(store, WithGrace(0)) }

// Router is one state over the daemons of a node.
type Router struct {
	options

	local state.CoreState
	dial  func(owner string) (*grpc.ClientConn, error)
	self  string

	mu      sync.Mutex
	clients map[string]*remote
}

// remote is the state of one owner: daemons read the lean form, callers that print read the full one.
type remote struct{ lean, full state.CoreState }

func (r *remote) pick(skipUnmarshal bool) state.CoreState {
	if skipUnmarshal {
		return r.full
	}

	return r.lean
}

// owner gives the remote daemon of a type, or nil when the type is local.
func (r *Router) owner(typ resource.Type) (*remote, error) {
	def, ok := r.lookup(typ)
	if !ok || def.Owner == r.self {
		return nil, nil //nolint:nilnil // nil is the local store
	}

	r.mu.Lock()
	defer r.mu.Unlock()

	if c := r.clients[def.Owner]; c != nil {
		return c, nil
	}

	conn, err := r.dial(def.Owner)
	if err != nil {
		return nil, &NoOwnerError{Type: typ, Owner: def.Owner, Err: err}
	}

	c := &remote{
		lean: client.NewAdapter(stateClient{v1alpha1.NewStateClient(conn), true}, client.WithDisableWatchRetry()),
		full: client.NewAdapter(stateClient{v1alpha1.NewStateClient(conn), false}, client.WithDisableWatchRetry()),
	}
	r.clients[def.Owner] = c

	return c, nil
}

// Get a resource from its owner; one whose owner is not on the node is not found.
func (r *Router) Get(ctx context.Context, ptr resource.Pointer, opts ...state.GetOption) (resource.Resource, error) {
	c, err := r.owner(ptr.Type())
	if err != nil {
		return nil, inmem.ErrNotFound(ptr)
	}

	if c == nil {
		return r.local.Get(ctx, ptr, opts...)
	}

	var o state.GetOptions
	for _, opt := range opts {
		opt(&o)
	}

	return c.pick(o.UnmarshalOptions.SkipProtobufUnmarshal).Get(ctx, ptr, opts...)
}

// List the resources of a type; it has none when its owner is not on the node.
func (r *Router) List(ctx context.Context, kind resource.Kind, opts ...state.ListOption) (resource.List, error) {
	c, err := r.owner(kind.Type())
	if err != nil {
		return resource.List{}, nil
	}

	if c == nil {
		return r.local.List(ctx, kind, opts...)
	}

	var o state.ListOptions
	for _, opt := range opts {
		opt(&o)
	}

	return relist(ctx, c.pick(o.UnmarshalOptions.SkipProtobufUnmarshal), kind, opts)
}

// listAttempts bounds how often a list that broke off is asked for again; the wait in between is the connection's.
const listAttempts = 5

// relist asks again when the owner goes away in the middle of its answer, which gRPC itself does not repeat.
func relist(ctx context.Context, st state.CoreState, kind resource.Kind, opts []state.ListOption) (list resource.List, err error) {
	for range listAttempts {
		list, err = st.List(ctx, kind, opts...)
		if status.Code(err) != codes.Unavailable {
			return list, err
		}
	}

	return list, err
}

// writer gives the state that stores a type.
func (r *Router) writer(typ resource.Type) (state.CoreState, error) {
	c, err := r.owner(typ)

	switch {
	case err != nil:
		return nil, err
	case c == nil:
		return r.local, nil
	default:
		return c.lean, nil
	}
}

// Create a resource at its owner.
func (r *Router) Create(ctx context.Context, res resource.Resource, opts ...state.CreateOption) error {
	st, err := r.writer(res.Metadata().Type())
	if err != nil {
		return err
	}

	return st.Create(ctx, res, opts...)
}

// Update a resource at its owner; finalizers are the usual reason.
func (r *Router) Update(ctx context.Context, res resource.Resource, opts ...state.UpdateOption) error {
	st, err := r.writer(res.Metadata().Type())
	if err != nil {
		return err
	}

	return st.Update(ctx, res, opts...)
}

// Destroy a resource at its owner.
func (r *Router) Destroy(ctx context.Context, ptr resource.Pointer, opts ...state.DestroyOption) error {
	st, err := r.writer(ptr.Type())
	if err != nil {
		return err
	}

	return st.Destroy(ctx, ptr, opts...)
}

// stateClient marks the calls of a daemon: its own, not somebody's outside, and in lean form unless it prints.
type stateClient struct {
	v1alpha1.StateClient

	lean bool
}

func (c stateClient) mark(ctx context.Context) context.Context {
	if c.lean {
		return metadata.AppendToOutgoingContext(ctx, peer.SelfKey, "1", stateserver.LeanKey, "1")
	}

	return peer.AsSelf(ctx)
}

func (c stateClient) Get(ctx context.Context, in *v1alpha1.GetRequest, opts ...grpc.CallOption) (*v1alpha1.GetResponse, error) {
	return c.StateClient.Get(c.mark(ctx), in, opts...)
}

func (c stateClient) List(ctx context.Context, in *v1alpha1.ListRequest, opts ...grpc.CallOption) (grpc.ServerStreamingClient[v1alpha1.ListResponse], error) {
	return c.StateClient.List(c.mark(ctx), in, opts...)
}

func (c stateClient) Create(ctx context.Context, in *v1alpha1.CreateRequest, opts ...grpc.CallOption) (*v1alpha1.CreateResponse, error) {
	return c.StateClient.Create(c.mark(ctx), in, opts...)
}

func (c stateClient) Update(ctx context.Context, in *v1alpha1.UpdateRequest, opts ...grpc.CallOption) (*v1alpha1.UpdateResponse, error) {
	out, err := c.StateClient.Update(c.mark(ctx), in, opts...)
	if dial.IsStopped(err) {
		// Its own code means a conflict here, which writers try to solve again and again.
		err = status.Error(codes.Unavailable, status.Convert(err).Message())
	}

	return out, err
}

func (c stateClient) Destroy(ctx context.Context, in *v1alpha1.DestroyRequest, opts ...grpc.CallOption) (*v1alpha1.DestroyResponse, error) {
	return c.StateClient.Destroy(c.mark(ctx), in, opts...)
}

func (c stateClient) Watch(ctx context.Context, in *v1alpha1.WatchRequest, opts ...grpc.CallOption) (grpc.ServerStreamingClient[v1alpha1.WatchResponse], error) {
	return c.StateClient.Watch(c.mark(ctx), in, opts...)
}
