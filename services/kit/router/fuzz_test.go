package router_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/cosi-project/runtime/pkg/resource"
	"github.com/cosi-project/runtime/pkg/state"
	"github.com/cosi-project/runtime/pkg/state/impl/inmem"
	"github.com/cosi-project/runtime/pkg/state/impl/namespaced"

	"github.com/dactyl-os/dactyl/services/kit/internal/testdaemon"
	"github.com/dactyl-os/dactyl/services/kit/router"
)

// flaky is an owner whose connections break and which restarts with an empty store.
type flaky struct {
	mu    sync.Mutex
	store state.CoreState
	era   context.Context
	cut   context.CancelFunc
	// life counts restarts: a bookmark of an earlier one is invalid, which the in-memory store knows per process only.
	life byte
}

func newFlaky() *flaky {
	f := &flaky{}
	f.reset(true)

	return f
}

// reset breaks every watch; restart also empties the store.
func (f *flaky) reset(restart bool) {
	f.mu.Lock()
	defer f.mu.Unlock()

	if f.cut != nil {
		f.cut()
	}

	if restart {
		f.life++
		f.store = namespaced.NewState(func(ns resource.Namespace) state.CoreState {
			return inmem.NewStateWithOptions(inmem.WithHistoryInitialCapacity(8), inmem.WithHistoryMaxCapacity(8), inmem.WithHistoryGap(2))(ns)
		})
	}

	f.era, f.cut = context.WithCancel(context.Background())
}

func (f *flaky) current() (state.CoreState, context.Context, byte) {
	f.mu.Lock()
	defer f.mu.Unlock()

	return f.store, f.era, f.life
}

func (f *flaky) Get(ctx context.Context, ptr resource.Pointer, opts ...state.GetOption) (resource.Resource, error) {
	st, _, _ := f.current()

	return st.Get(ctx, ptr, opts...)
}

func (f *flaky) List(ctx context.Context, k resource.Kind, opts ...state.ListOption) (resource.List, error) {
	st, _, _ := f.current()

	return st.List(ctx, k, opts...)
}

func (f *flaky) Create(ctx context.Context, r resource.Resource, opts ...state.CreateOption) error {
	st, _, _ := f.current()

	return st.Create(ctx, r, opts...)
}

func (f *flaky) Update(ctx context.Context, r resource.Resource, opts ...state.UpdateOption) error {
	st, _, _ := f.current()

	return st.Update(ctx, r, opts...)
}

func (f *flaky) Destroy(ctx context.Context, ptr resource.Pointer, opts ...state.DestroyOption) error {
	st, _, _ := f.current()

	return st.Destroy(ctx, ptr, opts...)
}

func (f *flaky) Watch(context.Context, resource.Pointer, chan<- state.Event, ...state.WatchOption) error {
	return errors.New("not used")
}

func (f *flaky) WatchKind(context.Context, resource.Kind, chan<- state.Event, ...state.WatchKindOption) error {
	return errors.New("not used")
}

func (f *flaky) WatchKindAggregated(ctx context.Context, k resource.Kind, ch chan<- []state.Event, opts ...state.WatchKindOption) error {
	st, era, life := f.current()
	own := make(chan []state.Event)

	opts, err := marked(opts, life)
	if err != nil {
		return err
	}

	subCtx, cancel := context.WithCancel(ctx)
	if err := st.WatchKindAggregated(subCtx, k, own, opts...); err != nil {
		cancel()

		return err
	}

	go func() {
		defer cancel()

		for {
			select {
			case events := <-own:
				for i := range events {
					if events[i].Bookmark != nil {
						events[i].Bookmark = append(append(state.Bookmark{}, events[i].Bookmark...), life)
					}
				}

				select {
				case ch <- events:
					continue
				case <-era.Done():
				case <-ctx.Done():
					return
				}
			case <-era.Done():
			case <-ctx.Done():
				return
			}

			// The connection broke.
			select {
			case ch <- []state.Event{{Type: state.Errored, Error: status.Error(codes.Unavailable, "connection reset")}}:
			case <-ctx.Done():
			}

			return
		}
	}()

	return nil
}

// marked takes the life off the bookmark in opts.
func marked(opts []state.WatchKindOption, life byte) ([]state.WatchKindOption, error) {
	var o state.WatchKindOptions
	for _, opt := range opts {
		opt(&o)
	}

	mark := o.StartFromBookmark
	if mark == nil {
		return opts, nil
	}

	if mark[len(mark)-1] != life {
		return nil, inmem.ErrInvalidWatchBookmark
	}

	return append(opts, state.WithKindStartFromBookmark(mark[:len(mark)-1])), nil
}

// FuzzRouter drives an owner through writes, broken connections and restarts. What a watcher was told must add up to what
// the owner holds, and every event must follow from the ones before it.
func FuzzRouter(f *testing.F) {
	f.Add([]byte{0x00, 0x01, 0x02})                                                       // writes
	f.Add([]byte{0x00, 0x10, 0x01, 0x40, 0x02})                                           // a broken connection
	f.Add([]byte{0x00, 0x01, 0x80, 0x00, 0x01})                                           // a restart that publishes the same
	f.Add([]byte{0x00, 0x01, 0x80, 0x80, 0x01, 0x40, 0x80})                               // restarts that lose everything
	f.Add([]byte{0x00, 0x20, 0x00, 0x20, 0x03, 0x40, 0x23, 0xc0, 0x03, 0x40, 0x40, 0x20}) // destroyed and created again
	f.Add([]byte("\x00\x01\x00\x01\x00\x01\x00\x01\x00\x01\x00\x01\x40\x00\x01\x00\x01")) // more than the history holds

	testdaemon.Register()

	f.Fuzz(func(t *testing.T, script []byte) {
		if len(script) > 64 {
			return
		}

		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()

		owner := newFlaky()
		defer owner.cut()

		ch := make(chan state.Event)
		client := router.Resume(owner, router.WithGrace(20*time.Millisecond))

		if err := client.WatchKind(ctx, kind(testdaemon.ItemType), ch, state.WithBootstrapContents(true)); err != nil {
			t.Fatal(err)
		}

		told := &follower{items: map[string]string{}}
		model := map[string]string{}

		for step, op := range script {
			drive(t, owner, model, op, step)

			// Let the watcher see some of it in between.
			for range op & 3 {
				select {
				case event := <-ch:
					told.take(t, event)
				default:
				}
			}
		}

		for deadline := time.After(5 * time.Second); !maps.Equal(told.items, model); {
			select {
			case event := <-ch:
				told.take(t, event)
			case <-deadline:
				t.Fatalf("script %x: told %v, owner has %v, events %q", script, told.items, model, told.events)
			}
		}
	})
}

// drive does one operation: two bits say what, the lower ones which item.
func drive(t *testing.T, owner *flaky, model map[string]string, op byte, step int) {
	t.Helper()

	id := fmt.Sprint(op & 0x0f)
	ctx := context.Background()
	st := state.WrapCore(owner)

	switch {
	case op >= 0xc0:
		// A restart that publishes everything again.
		owner.reset(true)

		for id, value := range model {
			if err := st.Create(ctx, testdaemon.NewItem(testdaemon.ItemType, id, value)); err != nil {
				t.Fatal(err)
			}
		}
	case op >= 0x80:
		owner.reset(true)
		clear(model)
	case op >= 0x40:
		owner.reset(false)
	case op&0x20 != 0:
		if err := st.Destroy(ctx, testdaemon.NewItem(testdaemon.ItemType, id, "").Metadata()); err != nil && !state.IsNotFoundError(err) {
			t.Fatal(err)
		}

		delete(model, id)
	default:
		model[id] = fmt.Sprint(step)

		if err := st.Modify(ctx, testdaemon.NewItem(testdaemon.ItemType, id, ""), func(r resource.Resource) error {
			r.(*testdaemon.Item).TypedSpec().Value = model[id]

			return nil
		}); err != nil {
			t.Fatal(err)
		}
	}
}

// FuzzRoute asks for types with any name: known ones go to their owner, unknown ones stay here, and nothing panics.
func FuzzRoute(f *testing.F) {
	for _, typ := range []string{testdaemon.ItemType, testdaemon.CopyType, "AddressStatuses.net.talos.dev", "", ".", "\x00", "a.b.c"} {
		f.Add("test", typ, "id")
	}

	conn := errors.New("no such socket")

	f.Fuzz(func(t *testing.T, ns, typ, id string) {
		st := router.New("testdaemon", namespaced.NewState(inmem.Build), func(string) (*grpc.ClientConn, error) { return nil, conn }, router.WithTypes(types))
		ptr := resource.NewMetadata(ns, typ, id, resource.VersionUndefined)

		if _, err := st.Get(t.Context(), ptr); !state.IsNotFoundError(err) {
			t.Errorf("type %q: get: %v", typ, err)
		}

		err := st.Destroy(t.Context(), ptr)

		def, known := types(typ)
		if foreign := known && def.Owner != "testdaemon"; foreign != router.IsNoOwner(err) {
			t.Errorf("type %q: %v", typ, err)
		}

		if !router.IsNoOwner(err) && !state.IsNotFoundError(err) {
			t.Errorf("type %q: %v", typ, err)
		}
	})
}
