package reconcile_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/cosi-project/runtime/pkg/controller"
	"github.com/cosi-project/runtime/pkg/resource"
	"github.com/cosi-project/runtime/pkg/state"
	"github.com/cosi-project/runtime/pkg/state/impl/inmem"
	"github.com/cosi-project/runtime/pkg/state/impl/namespaced"

	"github.com/dactyl-os/dactyl/services/kit/backoff"
	"github.com/dactyl-os/dactyl/services/kit/internal/testdaemon"
	"github.com/dactyl-os/dactyl/services/kit/poke"
	"github.com/dactyl-os/dactyl/services/kit/reconcile"
	"github.com/dactyl-os/dactyl/services/kit/router"
)

// events is a runtime with events and nothing else.
type events struct {
	controller.Runtime

	ch chan controller.ReconcileEvent
}

func newEvents() events {
	e := events{ch: make(chan controller.ReconcileEvent, 1)}
	e.ch <- controller.ReconcileEvent{}

	return e
}

func (e events) EventCh() <-chan controller.ReconcileEvent { return e.ch }
func (events) ResetRestartBackoff()                        {}

func TestLoopTriesAgain(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()

	var told []string

	again := poke.New()
	steps := 0

	loop := reconcile.Loop{
		Retry:  backoff.Backoff{First: time.Millisecond, Most: 4 * time.Millisecond},
		Poke:   again,
		Failed: func(err error, pause time.Duration) { told = append(told, fmt.Sprint(err, " ", pause)) },
	}

	err := loop.Run(ctx, newEvents(), func() error {
		steps++

		switch {
		case steps <= 4:
			return fmt.Errorf("attempt %d", steps)
		case steps == 5:
			again.Poke()
			again.Poke()

			return nil
		case steps == 6:
			return errors.New("later")
		default:
			cancel()

			return nil
		}
	})

	want := []string{"attempt 1 1ms", "attempt 2 2ms", "attempt 3 4ms", "attempt 4 4ms", "later 1ms"}
	if err != nil || steps != 7 || !slices.Equal(told, want) {
		t.Errorf("%v after %d steps, told %q", err, steps, told)
	}
}

func TestLoopHasAClock(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()

	steps := 0

	if err := (reconcile.Loop{Every: time.Millisecond}).Run(ctx, newEvents(), func() error {
		if steps++; steps == 3 {
			cancel()
		}

		return nil
	}); err != nil || steps != 3 {
		t.Errorf("%v after %d steps", err, steps)
	}
}

// Each step of Timed says when the next one is due; one that fails is the last.
func TestTimedEndsWithAFailure(t *testing.T) {
	again, wrong := poke.New(), errors.New("wrong")
	steps := 0

	err := reconcile.Timed(t.Context(), newEvents(), again, func() (time.Duration, error) {
		switch steps++; steps {
		case 1:
			return time.Millisecond, nil
		case 2:
			again.Poke()

			return 0, nil
		default:
			return time.Millisecond, wrong
		}
	})
	if !errors.Is(err, wrong) || steps != 3 {
		t.Errorf("%v after %d steps", err, steps)
	}
}

// What an owner has not told yet is no failure of Each, anything else is.
func TestEachWaitsForWhatIsUnknown(t *testing.T) {
	e := newEvents()
	steps, wrong := 0, errors.New("wrong")

	err := reconcile.Each(t.Context(), e, func() error {
		if steps++; steps == 1 {
			e.ch <- controller.ReconcileEvent{} // the owner has told

			return fmt.Errorf("read: %w", &router.UnknownError{Type: "t"})
		}

		return wrong
	})
	if !errors.Is(err, wrong) || steps != 2 {
		t.Errorf("%v after %d steps", err, steps)
	}
}

func TestToldOnce(t *testing.T) {
	var told reconcile.Told

	for i, step := range []struct {
		subject, text string
		news          bool
	}{
		{"a", "", false}, {"a", "broken", true}, {"a", "broken", false}, {"b", "broken", true}, {"a", "worse", true},
		{"a", "", false}, {"a", "worse", true},
	} {
		if got := told.News(step.subject, step.text); got != step.news {
			t.Errorf("step %d is news: %v", i, got)
		}
	}

	var all reconcile.Told

	for i, step := range []struct{ problems, fresh []string }{
		{nil, nil}, {[]string{"a", "b"}, []string{"a", "b"}}, {[]string{"b", "c", "c"}, []string{"c"}}, {[]string{"a"}, []string{"a"}},
	} {
		if got := all.Fresh(step.problems); !slices.Equal(got, step.fresh) {
			t.Errorf("step %d: fresh are %q", i, got)
		}
	}
}

// What nobody holds goes in one step, what somebody holds goes when it is let go of.
func TestPublishRemoves(t *testing.T) {
	testdaemon.Register()

	st := state.WrapCore(namespaced.NewState(inmem.Build))
	mine := reconcile.NewPublisher(st, "mine")
	newItem := func(_ resource.Namespace, id resource.ID) *testdaemon.Item {
		return testdaemon.NewItem(testdaemon.ItemType, id, "")
	}
	publish := func(specs map[string]testdaemon.ItemSpec) {
		t.Helper()

		if err := reconcile.Publish(t.Context(), mine, newItem, testdaemon.Namespace, specs); err != nil {
			t.Fatal(err)
		}
	}

	publish(map[string]testdaemon.ItemSpec{"free": {}, "held": {}})

	held := newItem("", "held").Metadata()
	if err := st.AddFinalizer(t.Context(), held, "holder"); err != nil {
		t.Fatal(err)
	}

	events := make(chan state.Event, 8)
	if err := st.WatchKind(t.Context(), held, events); err != nil {
		t.Fatal(err)
	}

	publish(nil)

	var got []string

	for range 2 {
		e := <-events
		got = append(got, fmt.Sprint(e.Resource.Metadata().ID(), " ", e.Type, " ", e.Resource.Metadata().Phase()))
	}

	slices.Sort(got)

	if want := []string{"free Destroyed running", "held Updated tearingDown"}; !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}

	if err := st.RemoveFinalizer(t.Context(), held, "holder"); err != nil {
		t.Fatal(err)
	}

	publish(nil)

	if _, err := st.Get(t.Context(), held); !state.IsNotFoundError(err) {
		t.Errorf("what is let go of stays: %v", err)
	}
}

func TestPublishASet(t *testing.T) {
	testdaemon.Register()

	st := state.WrapCore(namespaced.NewState(inmem.Build))
	mine, others := reconcile.NewPublisher(st, "mine"), reconcile.NewPublisher(st, "others")
	newItem := func(_ resource.Namespace, id resource.ID) *testdaemon.Item {
		return testdaemon.NewItem(testdaemon.ItemType, id, "")
	}
	there := func() map[string]string {
		list, err := st.List(t.Context(), testdaemon.NewItem(testdaemon.ItemType, "", "").Metadata())
		if err != nil {
			t.Fatal(err)
		}

		out := map[string]string{}
		for _, r := range list.Items {
			out[r.Metadata().ID()] = r.(*testdaemon.Item).TypedSpec().Value + " v" + r.Metadata().Version().String()
		}

		return out
	}
	spec := func(v string) testdaemon.ItemSpec { return testdaemon.ItemSpec{Value: v} }

	if err := reconcile.Publish(t.Context(), others, newItem, testdaemon.Namespace, map[string]testdaemon.ItemSpec{"x": spec("x")}); err != nil {
		t.Fatal(err)
	}

	for i, step := range []struct {
		publish map[string]testdaemon.ItemSpec
		want    map[string]string
	}{
		{map[string]testdaemon.ItemSpec{"a": spec("1"), "b": spec("1")}, map[string]string{"x": "x v1", "a": "1 v1", "b": "1 v1"}},
		{map[string]testdaemon.ItemSpec{"a": spec("1"), "b": spec("2"), "c": spec("3")}, map[string]string{"x": "x v1", "a": "1 v1", "b": "2 v2", "c": "3 v1"}},
		{map[string]testdaemon.ItemSpec{"c": spec("3")}, map[string]string{"x": "x v1", "c": "3 v1"}},
		{nil, map[string]string{"x": "x v1"}},
	} {
		if err := reconcile.Publish(t.Context(), mine, newItem, testdaemon.Namespace, step.publish); err != nil {
			t.Fatal(err)
		}

		if got := there(); !maps.Equal(got, step.want) {
			t.Errorf("step %d: %v, want %v", i, got, step.want)
		}
	}
}
