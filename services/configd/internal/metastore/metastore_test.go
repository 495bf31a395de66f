package metastore_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/dactyl-os/dactyl/proto/meta"
	"github.com/dactyl-os/dactyl/services/configd/internal/metastore"
	"github.com/dactyl-os/dactyl/services/configd/internal/store"
	"github.com/dactyl-os/dactyl/services/kit/kittest"
)

// home plays diskd's partition.
type home struct {
	mu      sync.Mutex
	present bool
	data    []byte
	writes  int
	// reading and writing fail with these; a writing that is lost was done before.
	reading, writing, lost error
	hangs                  bool
}

func (h *home) Read(context.Context) ([]byte, error) {
	h.mu.Lock()
	defer h.mu.Unlock()

	if !h.present {
		return nil, metastore.ErrNoHome
	}

	return h.data, h.reading
}

func (h *home) Write(ctx context.Context, data []byte) error {
	h.mu.Lock()
	defer h.mu.Unlock()

	if h.hangs {
		<-ctx.Done()

		return ctx.Err()
	}

	if h.writing != nil {
		return h.writing
	}

	h.data = data
	h.writes++

	return h.lost
}

func (h *home) set(change func(*home)) {
	h.mu.Lock()
	defer h.mu.Unlock()

	change(h)
}

func holding(t *testing.T, values meta.Values) *home {
	t.Helper()

	data, err := meta.Encode(values, 4)
	if err != nil {
		t.Fatal(err)
	}

	return &home{present: true, data: data}
}

type harness struct {
	*metastore.Store

	t         *testing.T
	dir       string
	mu        sync.Mutex
	published string
}

// open starts a store as configd does; one in the same directory is a configd that restarted.
func open(t *testing.T, dir string, place metastore.Place, given meta.Values) *harness {
	t.Helper()

	h := &harness{t: t, dir: dir}
	h.Store = &metastore.Store{
		Home: place, Waiting: store.File(filepath.Join(dir, "waiting")), Aside: store.File(filepath.Join(dir, "aside")), Given: given,
		Publish: h.publish, Log: slog.New(slog.DiscardHandler), Limit: 50 * time.Millisecond, Pause: time.Millisecond,
	}
	h.Open(t.Context())

	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)

	go func() { done <- h.Run(ctx) }()

	t.Cleanup(func() {
		cancel()

		if err := <-done; err != nil {
			t.Error(err)
		}
	})

	return h
}

func (h *harness) publish(values meta.Values) error {
	h.mu.Lock()
	defer h.mu.Unlock()

	h.published = show(values)

	return nil
}

func (h *harness) seen() string {
	h.mu.Lock()
	defer h.mu.Unlock()

	return h.published
}

func (h *harness) want(published string) {
	h.t.Helper()

	if got := h.seen(); got != published {
		h.t.Errorf("published %q, want %q", got, published)
	}
}

func (h *harness) set(key uint8, value string) error {
	return h.Change(h.t.Context(), func(values meta.Values) error {
		values[key] = []byte(value)

		return nil
	})
}

func (h *harness) mustSet(key uint8, value string) {
	h.t.Helper()

	if err := h.set(key, value); err != nil {
		h.t.Fatal(err)
	}
}

func (h *harness) file(name string) string {
	data, _ := os.ReadFile(filepath.Join(h.dir, name)) // "" when it is not there

	return string(data)
}

func (h *home) holds(t *testing.T, want string) {
	t.Helper()

	h.mu.Lock()
	defer h.mu.Unlock()

	values, _, err := meta.Decode(h.data)
	if got := show(values); err != nil || got != want {
		t.Errorf("kept: %q, want %q (%v)", got, want, err)
	}
}

func show(values meta.Values) string {
	var out []string
	for _, key := range slices.Sorted(maps.Keys(values)) {
		out = append(out, fmt.Sprintf("%x=%s", key, values[key]))
	}

	return strings.Join(out, " ")
}

// Before an install, values outlive configd; the install brings them home.
func TestWaitsForInstall(t *testing.T) {
	dir, place := t.TempDir(), &home{}
	given := meta.Values{0x0a: []byte("net"), 0x0c: []byte("gone")}

	h := open(t, dir, place, given)
	h.want("a=net c=gone")
	h.mustSet(0x0b, "written")

	if err := h.Change(t.Context(), func(v meta.Values) error { delete(v, 0x0c); return nil }); err != nil {
		t.Fatal(err)
	}

	h = open(t, dir, place, given)
	h.want("a=net b=written")

	if err := h.Settle(t.Context()); err != nil {
		t.Fatal(err)
	}

	h.want("a=net b=written")
	place.set(func(p *home) { p.present = true })

	for range 2 {
		if err := h.Settle(t.Context()); err != nil {
			t.Fatal(err)
		}
	}

	place.holds(t, "a=net b=written")

	if place.writes != 1 || h.file("waiting") != "" {
		t.Errorf("%d writes, waiting %q", place.writes, h.file("waiting"))
	}

	h.mustSet(0x0a, "later")
	open(t, dir, place, given).want("a=later b=written c=gone")
}

// configd dies after the install, before the values are home: the next one brings them.
func TestDiesWhileInstalling(t *testing.T) {
	dir, place := t.TempDir(), &home{}
	open(t, dir, place, nil).mustSet(0x0b, "written")

	place.set(func(p *home) { p.present = true })

	h := open(t, dir, place, nil)
	h.want("b=written")
	place.holds(t, "b=written")

	if h.file("waiting") != "" {
		t.Error("they still wait")
	}
}

func TestMerge(t *testing.T) {
	given := meta.Values{0x0a: []byte("cmdline"), 0x0c: []byte("cmdline")}

	t.Run("an earlier installation's META", func(t *testing.T) {
		place := holding(t, meta.Values{0x0a: []byte("old")})
		open(t, t.TempDir(), place, given).want("a=old c=cmdline")
		place.holds(t, "a=old c=cmdline")
	})

	t.Run("a disk that comes late", func(t *testing.T) {
		dir, place := t.TempDir(), &home{}
		open(t, dir, place, given).mustSet(0x0b, "written")

		late := holding(t, meta.Values{0x0a: []byte("old"), 0x0b: []byte("old"), 0x0d: []byte("old")})
		h := open(t, dir, late, given)
		h.want("a=old b=written c=cmdline d=old")
	})

	t.Run("a change finds it", func(t *testing.T) {
		place := holding(t, meta.Values{0x0d: []byte("old")})
		place.present = false

		h := open(t, t.TempDir(), place, nil)
		h.want("")
		place.set(func(p *home) { p.present = true })
		h.mustSet(0x0b, "written")
		h.want("b=written d=old")
		place.holds(t, "b=written d=old")
	})
}

// A writing that failed may have been done: what is kept is read again, by itself and before the next change.
func TestDoubt(t *testing.T) {
	broken := errors.New("connection lost")

	for name, done := range map[string]bool{"done": true, "not done": false} {
		t.Run(name, func(t *testing.T) {
			place := holding(t, meta.Values{1: []byte("one")})
			h := open(t, t.TempDir(), place, nil)

			want := "1=one"
			if done {
				want = "1=one 2=two"
			}

			place.set(func(p *home) {
				if p.writing = broken; done {
					p.writing, p.lost = nil, broken
				}
			})

			if err := h.set(2, "two"); !errors.Is(err, broken) {
				t.Errorf("error %v", err)
			}

			place.set(func(p *home) { p.writing, p.lost = nil, nil })
			kittest.Await(t, 5*time.Second, "what is kept is published", func() bool { return h.seen() == want })
			h.mustSet(3, "three")
			h.want(want + " 3=three")
			place.holds(t, want+" 3=three")
		})
	}
}

// What cannot be read is not replaced, and is known as soon as it can be.
func TestUnreadable(t *testing.T) {
	place := holding(t, meta.Values{1: []byte("one")})
	place.reading = errors.New("input/output error")

	h := open(t, t.TempDir(), place, meta.Values{2: []byte("two")})

	if err := h.set(1, "other"); err == nil || !strings.Contains(err.Error(), "read META: input/output error") {
		t.Errorf("error %v", err)
	}

	h.want("")
	place.holds(t, "1=one")
	place.set(func(p *home) { p.reading = nil })
	kittest.Await(t, 5*time.Second, "it is published", func() bool { return h.seen() == "1=one 2=two" })
}

func TestSaysWhyNot(t *testing.T) {
	place := holding(t, meta.Values{1: []byte("one")})
	h := open(t, t.TempDir(), place, nil)

	if err := h.set(2, strings.Repeat("x", meta.SlotSize)); !errors.Is(err, meta.ErrFull) {
		t.Errorf("error %v", err)
	}

	h.mustSet(3, "three")
	place.set(func(p *home) { p.hangs = true })

	if err := h.set(2, "two"); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("error %v", err)
	}

	place.holds(t, "1=one 3=three")
}

// Who asked may be gone: a change that was begun is done.
func TestCallerGone(t *testing.T) {
	place := holding(t, nil)
	h := open(t, t.TempDir(), place, nil)

	ctx, cancel := context.WithCancel(t.Context())
	cancel()

	if err := h.Change(ctx, func(v meta.Values) error { v[1] = []byte("one"); return nil }); err != nil {
		t.Error(err)
	}

	place.holds(t, "1=one")
}

func TestDamaged(t *testing.T) {
	place := &home{present: true, data: []byte("damage")}
	h := open(t, t.TempDir(), place, nil)
	h.mustSet(1, "one")

	if h.file("aside") != "damage" {
		t.Errorf("set aside: %q", h.file("aside"))
	}

	place.holds(t, "1=one")
}
