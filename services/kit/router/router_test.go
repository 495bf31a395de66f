package router_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/cosi-project/runtime/pkg/resource"
	"github.com/cosi-project/runtime/pkg/state"
	"github.com/cosi-project/runtime/pkg/state/impl/inmem"
	"github.com/cosi-project/runtime/pkg/state/impl/namespaced"

	"github.com/dactyl-os/dactyl/services/kit/dial"
	"github.com/dactyl-os/dactyl/services/kit/internal/catalog"
	"github.com/dactyl-os/dactyl/services/kit/internal/testdaemon"
	"github.com/dactyl-os/dactyl/services/kit/kittest"
	"github.com/dactyl-os/dactyl/services/kit/router"
)

const pkg = "../internal/testdaemon/cmd/testdaemon"

func types(typ string) (catalog.Definition, bool) {
	def, ok := testdaemon.Definitions()[typ]

	return def, ok
}

func kind(typ string) resource.Metadata {
	return resource.NewMetadata(testdaemon.Namespace, typ, "", resource.VersionUndefined)
}

// other is the router of a daemon called "other", beside d alone.
func other(t *testing.T, d *kittest.Daemon, options ...router.Option) *router.Router {
	t.Helper()
	testdaemon.Register()

	conn, err := dial.Socket(d.Socket)
	if err != nil {
		t.Fatal(err)
	}

	t.Cleanup(func() { conn.Close() })

	return router.New("other", namespaced.NewState(inmem.Build), func(owner string) (*grpc.ClientConn, error) {
		if owner != testdaemon.Name {
			return nil, errors.New("no such socket")
		}

		return conn, nil
	}, append(options, router.WithTypes(types))...)
}

// routed is what a daemon called "other" sees of the daemons in d's RunDir.
func routed(t *testing.T, d *kittest.Daemon) state.State {
	t.Helper()

	return state.WrapCore(other(t, d, router.WithGrace(300*time.Millisecond)))
}

func TestNamesTheOwnerThatIsNotHere(t *testing.T) {
	d := kittest.Start(t, pkg, kittest.Options{})
	st := routed(t, d)

	err := st.Create(t.Context(), testdaemon.NewItem(testdaemon.CopyType, "x", "1"))
	if !router.IsNoOwner(err) || !strings.Contains(err.Error(), "is owned by hostd, which this node does not run") {
		t.Errorf("got %v", err)
	}

	// A watch waits for the owner instead.
	if err := st.WatchKind(t.Context(), kind(testdaemon.CopyType), make(chan state.Event)); err != nil {
		t.Errorf("watch: %v", err)
	}
}

// follower folds a watch into the state it tells of.
type follower struct {
	items  map[string]string
	events []string
	booted int
}

func (f *follower) take(t *testing.T, event state.Event) {
	t.Helper()

	if event.Type == state.Bootstrapped {
		f.booted++

		return
	}

	if event.Type == state.Errored {
		t.Fatalf("errored: %v", event.Error)
	}

	id := event.Resource.Metadata().ID()
	_, known := f.items[id]

	if known != (event.Type == state.Updated || event.Type == state.Destroyed) {
		t.Errorf("%s of %s, known: %v", event.Type, id, known)
	}

	if event.Type == state.Destroyed {
		delete(f.items, id)
	} else {
		f.items[id] = event.Resource.(*testdaemon.Item).TypedSpec().Value
	}

	f.events = append(f.events, fmt.Sprintf("%s %s %s", event.Type, id, f.items[id]))
}

func TestWatchSurvivesItsOwner(t *testing.T) {
	d := kittest.Start(t, pkg, kittest.Options{Env: []string{"TEST_ITEMS=10"}})
	st := routed(t, d)
	ch := make(chan state.Event)

	if err := st.WatchKind(t.Context(), kind(testdaemon.ItemType), ch, state.WithBootstrapContents(true)); err != nil {
		t.Fatal(err)
	}

	f := &follower{items: map[string]string{}}
	drain(t, f, ch, 10)

	for round := range 20 {
		// Odd rounds lose two items and change none, even rounds bring them back; one item changes by hand each time.
		count := 10 - 2*((round+1)%2)
		f.events = nil

		d.Kill()
		d.SetEnv(fmt.Sprintf("TEST_ITEMS=%d", count))
		d.Launch()

		changed := fmt.Sprintf("round-%d", round)
		create(t, st, changed, "new")

		// What was created by hand before is gone with the daemon that held it.
		want := map[string]string{changed: "new"}
		for i := range count {
			want[fmt.Sprintf("item-%03d", i)] = fmt.Sprint(i)
		}

		for deadline := time.After(10 * time.Second); !maps.Equal(f.items, want); {
			select {
			case event := <-ch:
				f.take(t, event)
			case <-deadline:
				t.Fatalf("round %d: %v\nwant %v\nhave %v", round, f.events, want, f.items)
			}
		}

		for _, event := range f.events {
			if strings.Contains(event, "item-000") {
				t.Errorf("round %d: item-000 did not change, but: %s", round, event)
			}
		}
	}

	if f.booted != 1 {
		t.Errorf("bootstrapped %d times", f.booted)
	}
}

// create asks again when the call broke off: it may have gone out on the connection to the owner that was killed.
func create(t *testing.T, st state.State, id, value string) {
	t.Helper()

	item := testdaemon.NewItem(testdaemon.ItemType, id, value)

	kittest.Await(t, 10*time.Second, "an owner that creates "+id, func() bool {
		err := st.Create(t.Context(), item)
		if err != nil && status.Code(err) != codes.Unavailable {
			t.Fatal(err)
		}

		return err == nil
	})
}

func drain(t *testing.T, f *follower, ch <-chan state.Event, count int) {
	t.Helper()

	for deadline := time.After(10 * time.Second); len(f.items) < count || f.booted == 0; {
		select {
		case event := <-ch:
			f.take(t, event)
		case <-deadline:
			t.Fatalf("only %v", f.events)
		}
	}
}

func TestWatchOfOneResource(t *testing.T) {
	d := kittest.Start(t, pkg, kittest.Options{Env: []string{"TEST_ITEMS=1"}})
	st := routed(t, d)
	ptr := resource.NewMetadata(testdaemon.Namespace, testdaemon.ItemType, "x", resource.VersionUndefined)
	ch := make(chan state.Event)

	if err := st.Watch(t.Context(), ptr, ch); err != nil {
		t.Fatal(err)
	}

	next := func(want state.EventType, value string) {
		t.Helper()

		select {
		case event := <-ch:
			got := ""
			if item, ok := event.Resource.(*testdaemon.Item); ok && event.Type != state.Destroyed {
				got = item.TypedSpec().Value
			}

			if event.Type != want || got != value {
				t.Fatalf("got %s %q, want %s %q", event.Type, got, want, value)
			}
		case <-time.After(5 * time.Second):
			t.Fatalf("awaited %s %q in vain", want, value)
		}
	}

	next(state.Destroyed, "")

	create(t, st, "x", "1")
	next(state.Created, "1")

	// It comes back different, then not at all.
	d.Restart()
	create(t, st, "x", "2")
	next(state.Updated, "2")
	d.Restart()
	next(state.Destroyed, "")
}

func TestWatchersFromTheStartOn(t *testing.T) {
	d := kittest.Start(t, pkg, kittest.Options{Env: []string{"TEST_ITEMS=3"}})
	d.Kill()

	st := routed(t, d)
	batches := make(chan []state.Event)

	// The owner is away: the watch is made all the same, and tells what is there when it comes.
	if err := st.WatchKindAggregated(t.Context(), kind(testdaemon.ItemType), batches, state.WithBootstrapBookmark(true)); err != nil {
		t.Fatal(err)
	}

	d.Launch()

	var got []string

	for deadline := time.After(10 * time.Second); len(got) < 4; {
		select {
		case events := <-batches:
			for _, event := range events {
				got = append(got, fmt.Sprintf("%s %s", event.Type, event.Resource.Metadata().ID()))
			}
		case <-deadline:
			t.Fatalf("only %v", got)
		}
	}

	slices.Sort(got)

	if want := []string{"Created item-000", "Created item-001", "Created item-002", "Noop "}; !slices.Equal(got, want) {
		t.Errorf("got %q", got)
	}
}

func TestControllersAcrossDaemons(t *testing.T) {
	d := kittest.Start(t, pkg, kittest.Options{Env: []string{"TEST_ITEMS=5"}})
	d.Kill()

	c := kittest.Start(t, pkg, kittest.Options{Name: testdaemon.CopierName, Env: []string{"TEST_NAME=" + testdaemon.CopierName}, RunDir: d.RunDir})

	copies := func() int {
		conn := state.WrapCore(router.New("test", namespaced.NewState(inmem.Build), func(string) (*grpc.ClientConn, error) { return c.Conn(), nil }, router.WithTypes(types)))

		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()

		list, err := conn.List(ctx, kind(testdaemon.CopyType))
		if err != nil {
			t.Fatal(err)
		}

		return len(list.Items)
	}

	d.Launch()
	testdaemon.Register()
	kittest.Await(t, 10*time.Second, "5 copies", func() bool { return copies() == 5 })

	// Fewer items after the owner's restart are fewer copies; until they are known to be gone, nothing flaps.
	d.Kill()
	d.SetEnv("TEST_ITEMS=2")
	d.Launch()
	kittest.Await(t, 10*time.Second, "2 copies", func() bool { return copies() == 2 })

	if strings.Contains(c.Log(), "level=ERROR") {
		t.Errorf("log of the copier:\n%s", c.Log())
	}
}
