package router_test

import (
	"context"
	"errors"
	"os"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/cosi-project/runtime/pkg/resource"
	"github.com/cosi-project/runtime/pkg/state"

	"github.com/dactyl-os/dactyl/services/kit/dial"
	"github.com/dactyl-os/dactyl/services/kit/internal/testdaemon"
	"github.com/dactyl-os/dactyl/services/kit/kittest"
	"github.com/dactyl-os/dactyl/services/kit/router"
)

// cachedState is what a controller of a daemon called "other" reads, its watch of the items running.
func cachedState(t *testing.T, d *kittest.Daemon, patience time.Duration, known func()) state.CoreState {
	t.Helper()

	st := other(t, d).Cached(patience, known)

	for _, typ := range []resource.Type{testdaemon.ItemType, testdaemon.CopyType} {
		ch := make(chan []state.Event)
		if err := st.WatchKindAggregated(t.Context(), kind(typ), ch, state.WithBootstrapBookmark(true)); err != nil {
			t.Fatal(err)
		}

		go func() {
			for {
				select {
				case <-ch:
				case <-t.Context().Done():
					return
				}
			}
		}()
	}

	return st
}

// atOnce reads with a bound that no question to a daemon that hangs would keep.
func atOnce(t *testing.T) context.Context { return contextWithin(t, 300*time.Millisecond) }

func contextWithin(t *testing.T, d time.Duration) context.Context {
	t.Helper()

	ctx, cancel := context.WithTimeout(t.Context(), d)
	t.Cleanup(cancel)

	return ctx
}

func item(id string) resource.Pointer {
	return resource.NewMetadata(testdaemon.Namespace, testdaemon.ItemType, id, resource.VersionUndefined)
}

func ids(list resource.List) []string {
	var out []string
	for _, r := range list.Items {
		out = append(out, r.Metadata().ID())
	}

	return out
}

func TestReadsOfAnOwnerThatHangs(t *testing.T) {
	d := kittest.Start(t, pkg, kittest.Options{Env: []string{"TEST_ITEMS=3"}})
	st := cachedState(t, d, 10*time.Second, nil)

	kittest.AwaitNoError(t, 10*time.Second, func() error {
		_, err := st.Get(t.Context(), item("item-002"))

		return err
	})

	kittest.Freeze(t, d.PID())

	got, err := st.Get(atOnce(t), item("item-001"))
	if err != nil || got.(*testdaemon.Item).TypedSpec().Value != "1" {
		t.Errorf("get: %v, %v", got, err)
	}

	// What is read is the reader's own.
	got.(*testdaemon.Item).TypedSpec().Value = "changed"

	if again, _ := st.Get(atOnce(t), item("item-001")); again.(*testdaemon.Item).TypedSpec().Value != "1" {
		t.Error("a reader changed what others read")
	}

	if _, err := st.Get(atOnce(t), item("nowhere")); !state.IsNotFoundError(err) {
		t.Errorf("a missing one: %v", err)
	}

	list, err := st.List(atOnce(t), kind(testdaemon.ItemType))
	if want := []string{"item-000", "item-001", "item-002"}; err != nil || !slices.Equal(ids(list), want) {
		t.Errorf("list: %v, %v", ids(list), err)
	}

	syscall.Kill(d.PID(), syscall.SIGCONT) //nolint:errcheck // it is killed in any case
	create(t, routed(t, d), "x", "1")
	kittest.AwaitNoError(t, 10*time.Second, func() error {
		_, err := st.Get(atOnce(t), item("x"))

		return err
	})
}

func TestReadsOfAnOwnerThatHasToldNothing(t *testing.T) {
	d := kittest.Start(t, pkg, kittest.Options{})
	kittest.Freeze(t, d.PID())

	const patience = 200 * time.Millisecond

	woken := make(chan struct{}, 1)
	began := time.Now()
	st := cachedState(t, d, patience, func() { woken <- struct{}{} })

	if _, err := st.Get(t.Context(), item("x")); !router.IsUnknown(err) {
		t.Errorf("get: %v", err)
	}

	if waited := time.Since(began); waited < patience {
		t.Errorf("gave up after %s", waited)
	}

	// The time is over for all of them together.
	for range 20 {
		if _, err := st.List(atOnce(t), kind(testdaemon.ItemType)); !router.IsUnknown(err) {
			t.Fatalf("list: %v", err)
		}
	}

	syscall.Kill(d.PID(), syscall.SIGCONT) //nolint:errcheck // it is killed in any case

	// There is nothing, so no event would tell.
	select {
	case <-woken:
	case <-time.After(10 * time.Second):
		t.Fatal("nobody told the reader that went away")
	}

	if _, err := st.Get(atOnce(t), item("x")); !state.IsNotFoundError(err) {
		t.Errorf("get: %v", err)
	}
}

func TestReadsOfAnOwnerThatWasStopped(t *testing.T) {
	d := kittest.Start(t, pkg, kittest.Options{})
	d.Kill()

	if err := os.WriteFile(d.Socket+dial.Stopped, nil, 0o644); err != nil {
		t.Fatal(err)
	}

	st := cachedState(t, d, time.Minute, func() {})

	if _, err := st.Get(contextWithin(t, 10*time.Second), item("x")); !router.IsUnknown(err) || !dial.IsStopped(errors.Unwrap(err)) {
		t.Errorf("get: %v", err)
	}

	if err := os.Remove(d.Socket + dial.Stopped); err != nil {
		t.Fatal(err)
	}

	d.Launch()
	kittest.Await(t, 10*time.Second, "an answer", func() bool {
		_, err := st.Get(t.Context(), item("x"))

		return state.IsNotFoundError(err)
	})
}

// An owner that is not on the node has nothing, until it is.
func TestReadsOfAnOwnerThatIsNotHere(t *testing.T) {
	d := kittest.Start(t, pkg, kittest.Options{})
	st := cachedState(t, d, time.Minute, nil)

	for name, st := range map[string]state.CoreState{"direct": routed(t, d), "cached": st} {
		if list, err := st.List(contextWithin(t, 10*time.Second), kind(testdaemon.CopyType)); err != nil || len(list.Items) > 0 {
			t.Errorf("%s: list %v, %v", name, list, err)
		}

		copied := resource.NewMetadata(testdaemon.Namespace, testdaemon.CopyType, "x", resource.VersionUndefined)
		if _, err := st.Get(contextWithin(t, 10*time.Second), copied); !state.IsNotFoundError(err) {
			t.Errorf("%s: get %v", name, err)
		}
	}
}
