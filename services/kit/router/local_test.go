package router_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/cosi-project/runtime/pkg/resource"
	"github.com/cosi-project/runtime/pkg/state"

	"github.com/dactyl-os/dactyl/services/kit/internal/store"
	"github.com/dactyl-os/dactyl/services/kit/internal/testdaemon"
	"github.com/dactyl-os/dactyl/services/kit/router"
)

// TestLocalWatchSurvivesABurst writes far more than the store's history holds while nobody reads the watch.
func TestLocalWatchSurvivesABurst(t *testing.T) {
	const items = 3000

	testdaemon.Register()

	st := state.WrapCore(router.Local(store.New(nil)))
	ch := make(chan state.Event)

	if err := st.WatchKind(t.Context(), kind(testdaemon.ItemType), ch, state.WithBootstrapContents(true)); err != nil {
		t.Fatal(err)
	}

	for i := range items {
		item := testdaemon.NewItem(testdaemon.ItemType, fmt.Sprint(i), "new")
		if err := st.Create(t.Context(), item); err != nil {
			t.Fatal(err)
		}
	}

	for i := range items / 2 {
		if err := st.Destroy(t.Context(), resource.NewMetadata(testdaemon.Namespace, testdaemon.ItemType, fmt.Sprint(i), resource.VersionUndefined)); err != nil {
			t.Fatal(err)
		}
	}

	f := &follower{items: map[string]string{}}

	deadline := time.After(10 * time.Second)

	for len(f.items) != items/2 || f.items["0"] != "" || f.items[fmt.Sprint(items-1)] == "" {
		select {
		case event := <-ch:
			f.take(t, event)
		case <-deadline:
			t.Fatalf("%d of %d items after the burst", len(f.items), items/2)
		}
	}
}
