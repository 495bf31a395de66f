// Package store is a daemon's local resource store: in memory, a history per type for watchers that lag, and a note of
// when it last changed.
package store

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/cosi-project/runtime/pkg/resource"
	"github.com/cosi-project/runtime/pkg/state"
	"github.com/cosi-project/runtime/pkg/state/impl/inmem"
	"github.com/cosi-project/runtime/pkg/state/impl/namespaced"
)

// A bookmark or a watcher more than historyMax events behind has to list again. The history starts small because most
// types change a few times in a node's life, and ends small because it keeps what it tells of in memory.
const (
	historyInitial = 8
	historyMax     = 256
	historyGap     = 2
)

// Store is the state of a daemon's own types.
type Store struct {
	state.CoreState

	forget  func(resource.Pointer)
	changed atomic.Int64
}

// New makes an empty store; forget is told of every resource that is gone.
func New(forget func(resource.Pointer)) *Store {
	s := &Store{
		CoreState: namespaced.NewState(func(ns resource.Namespace) state.CoreState {
			return inmem.NewStateWithOptions(
				inmem.WithHistoryMaxCapacity(historyMax),
				inmem.WithHistoryInitialCapacity(historyInitial),
				inmem.WithHistoryGap(historyGap),
			)(ns)
		}),
		forget: forget,
	}
	s.touch()

	return s
}

// Quiet is how long ago the store last changed.
func (s *Store) Quiet() time.Duration { return time.Since(time.Unix(0, s.changed.Load())) }

// Create adds a resource.
func (s *Store) Create(ctx context.Context, r resource.Resource, opts ...state.CreateOption) error {
	defer s.touch()

	return s.CoreState.Create(ctx, r, opts...)
}

// Update replaces a resource.
func (s *Store) Update(ctx context.Context, r resource.Resource, opts ...state.UpdateOption) error {
	defer s.touch()

	return s.CoreState.Update(ctx, r, opts...)
}

// Destroy removes a resource.
func (s *Store) Destroy(ctx context.Context, ptr resource.Pointer, opts ...state.DestroyOption) error {
	defer s.touch()

	err := s.CoreState.Destroy(ctx, ptr, opts...)
	if err == nil && s.forget != nil {
		s.forget(ptr)
	}

	return err
}

func (s *Store) touch() { s.changed.Store(time.Now().UnixNano()) }
