package resume_test

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/cosi-project/runtime/api/v1alpha1"

	"github.com/dactyl-os/dactyl/services/gateway/internal/resume"
)

func res(id, value string, version int) *v1alpha1.Resource {
	return &v1alpha1.Resource{
		Metadata: &v1alpha1.Metadata{Id: id, Version: fmt.Sprint(version)}, Spec: &v1alpha1.Spec{ProtoSpec: []byte(value)},
	}
}

func encode(t *testing.T, m proto.Message) []byte {
	t.Helper()

	data, err := proto.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}

	return data
}

func message(t *testing.T, events ...*v1alpha1.Event) []byte {
	t.Helper()

	return encode(t, &v1alpha1.WatchResponse{Event: events})
}

// watcher folds what it is told into what it knows, and complains of what a watcher must not be told.
type watcher struct {
	known map[string]string
	told  int
}

func (w *watcher) take(t *testing.T, messages ...[]byte) {
	t.Helper()

	for _, data := range messages {
		var response v1alpha1.WatchResponse
		if err := proto.Unmarshal(data, &response); err != nil {
			t.Fatal(err)
		}

		for _, event := range response.GetEvent() {
			id, value := event.GetResource().GetMetadata().GetId(), string(event.GetResource().GetSpec().GetProtoSpec())
			before, known := w.known[id]
			w.told++

			switch event.GetEventType() {
			case v1alpha1.EventType_CREATED:
				if w.known[id] = value; known {
					t.Errorf("%s is created twice", id)
				}
			case v1alpha1.EventType_UPDATED:
				if w.known[id] = value; !known || before == value {
					t.Errorf("%s is updated from %q to %q", id, before, value)
				}
			case v1alpha1.EventType_DESTROYED:
				if delete(w.known, id); !known {
					t.Errorf("%s is destroyed and was not there", id)
				}
			default:
			}
		}
	}
}

// TestLives: an owner that dies at any point, with anything changed when it is back. In the end the watcher knows what is there,
// and was told nothing that is not so.
func TestLives(t *testing.T) {
	for seed := range uint64(2000) {
		random := rand.New(rand.NewPCG(seed, 1))
		remembered := 0
		view := resume.New(encode(t, &v1alpha1.WatchRequest{
			ApiVersion: 1, Options: &v1alpha1.WatchOptions{BootstrapContents: true, Aggregated: random.IntN(2) == 0},
		}), func(size int) bool {
			remembered += size

			return true
		})
		w := &watcher{known: map[string]string{}}
		owner := map[string]string{}
		version := 0

		// change makes one change at the owner and gives its event.
		change := func() *v1alpha1.Event {
			version++
			id, value := fmt.Sprint("r", random.IntN(5)), fmt.Sprint(version)
			event := &v1alpha1.Event{Resource: res(id, value, version)}

			switch _, known := owner[id]; {
			case !known:
				owner[id] = value
			case random.IntN(2) == 0:
				owner[id], event.EventType = value, v1alpha1.EventType_UPDATED
			default:
				event.EventType, event.Resource = v1alpha1.EventType_DESTROYED, res(id, owner[id], version)
				delete(owner, id)
			}

			return event
		}

		for range random.IntN(10) {
			data := message(t, change())
			view.Told(data)
			w.take(t, data)
		}

		for lives := 1 + random.IntN(4); lives > 0; lives-- {
			for range random.IntN(4) {
				change()
			}

			view.Again()

			cut := random.IntN(3) == 0 && lives > 1

			for id, value := range owner {
				if cut && random.IntN(2) == 0 {
					break
				}

				version++
				news, _ := view.News(message(t, &v1alpha1.Event{Resource: res(id, value, version)}))
				w.take(t, news...)
			}

			if cut {
				continue
			}

			news, waits := view.News(message(t, &v1alpha1.Event{EventType: v1alpha1.EventType_BOOTSTRAPPED, Resource: res("", "", 0)}))
			w.take(t, news...)

			for range random.IntN(4) {
				news, more := view.News(message(t, change()))
				w.take(t, news...)
				waits = waits || more
			}

			w.take(t, view.Gone()...)

			if !maps.Equal(w.known, owner) {
				t.Fatalf("seed %d: the watcher knows %v, the owner has %v", seed, w.known, owner)
			}

			told := w.told

			// A death without a change is no news.
			view.Again()

			for id, value := range owner {
				news, _ := view.News(message(t, &v1alpha1.Event{Resource: res(id, value, 1)}))
				w.take(t, news...)
			}

			news, waits = view.News(message(t, &v1alpha1.Event{EventType: v1alpha1.EventType_BOOTSTRAPPED, Resource: res("", "", 0)}))
			if w.take(t, news...); w.told != told || waits {
				t.Fatalf("seed %d: told of %d events after a death that changed nothing", seed, w.told-told)
			}
		}

		if len(owner) == 0 && remembered != 0 {
			t.Fatalf("seed %d: %d bytes are counted for nothing", seed, remembered)
		}
	}
}

// TestWatchesThatCannotBeTakenUp: of changes only, from a bookmark, or with more than may be remembered.
func TestWatchesThatCannotBeTakenUp(t *testing.T) {
	yes := func(int) bool { return true }

	for name, options := range map[string]*v1alpha1.WatchOptions{
		"changes": nil, "tail": {BootstrapContents: true, TailEvents: 3}, "bookmark": {StartFromBookmark: []byte{1}},
	} {
		if resume.New(encode(t, &v1alpha1.WatchRequest{Options: options}), yes) != nil {
			t.Errorf("%s: is taken up", name)
		}
	}

	view := resume.New(encode(t, &v1alpha1.WatchRequest{Options: &v1alpha1.WatchOptions{BootstrapContents: true}}), func(size int) bool { return size < 0 })
	view.Told(message(t, &v1alpha1.Event{Resource: res("a", "1", 1)}))

	if view.Again() != nil {
		t.Error("a view that does not hold everything is taken up")
	}
}
