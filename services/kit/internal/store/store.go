// Package store is a daemon's local resource store: in memory, a history per type for watchers that lag, and a note of
// when it last changed.
package store

import (
	"context"
	"maps"
	"slices"
	"sync"
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

	mu     sync.Mutex
	counts map[resource.Type]int
}

// Count is how many resources of a type there are.
type Count struct {
	Type      resource.Type
	Resources int
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
		counts: map[resource.Type]int{},
	}
	s.touch()

	return s
}

// Quiet is how long ago the store last changed.
func (s *Store) Quiet() time.Duration { return time.Since(time.Unix(0, s.changed.Load())) }

// Create adds a resource.
func (s *Store) Create(ctx context.Context, r resource.Resource, opts ...state.CreateOption) error {
	defer s.touch()

	err := s.CoreState.Create(ctx, r, opts...)
	if err == nil {
		s.count(r.Metadata().Type(), 1)
	}

	return err
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
	if err == nil {
		s.count(ptr.Type(), -1)

		if s.forget != nil {
			s.forget(ptr)
		}
	}

	return err
}

// Counts gives the number of resources of each type that ever had one, by type.
func (s *Store) Counts() []Count {
	s.mu.Lock()
	defer s.mu.Unlock()

	counts := make([]Count, 0, len(s.counts))
	for _, typ := range slices.Sorted(maps.Keys(s.counts)) {
		counts = append(counts, Count{Type: typ, Resources: s.counts[typ]})
	}

	return counts
}

func (s *Store) count(typ resource.Type, more int) {
	s.mu.Lock()
	defer s.mu.Unlock()

	s.counts[typ] += more
}

func (s *Store) touch() { s.changed.Store(time.Now().UnixNano()) }
