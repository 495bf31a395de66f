package keep_test

import (
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/cosi-project/runtime/pkg/resource"
	"github.com/cosi-project/runtime/pkg/state"
	"github.com/cosi-project/runtime/pkg/state/impl/inmem"
	"github.com/cosi-project/runtime/pkg/state/impl/namespaced"

	"github.com/dactyl-os/dactyl/services/kit/atomicfile"
	"github.com/dactyl-os/dactyl/services/kit/internal/testdaemon"
	"github.com/dactyl-os/dactyl/services/kit/keep"
	"github.com/dactyl-os/dactyl/services/kit/kittest"
)

func sealed(text string) string { return string(atomicfile.Seal([]byte(text))) }

func kinds() []resource.Kind {
	return []resource.Kind{testdaemon.NewItem(testdaemon.ItemType, "", "").Metadata()}
}

func TestResourcesComeBackWithTheirOwners(t *testing.T) {
	testdaemon.Register()

	path := filepath.Join(t.TempDir(), "clockd.resources")
	first := state.WrapCore(namespaced.NewState(inmem.Build))
	kept := &keep.Resources{Path: path, Kinds: kinds(), Log: slog.New(slog.NewTextHandler(t.Output(), nil))}

	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)

	go func() { done <- kept.Follow(first)(ctx) }()

	item := testdaemon.NewItem(testdaemon.ItemType, "x", "1")
	item.Metadata().Labels().Set("colour", "red")

	if err := first.Create(t.Context(), item, state.WithCreateOwner("me")); err != nil {
		t.Fatal(err)
	}

	kittest.Await(t, 10*time.Second, "the file", func() bool {
		data, err := os.ReadFile(path)

		return err == nil && strings.Contains(string(data), "colour")
	})

	cancel()

	if err := <-done; err != nil {
		t.Error(err)
	}

	second := state.WrapCore(namespaced.NewState(inmem.Build))
	kept.Restore(t.Context(), second)

	got, err := second.Get(t.Context(), item.Metadata())
	if err != nil {
		t.Fatal(err)
	}

	if colour, _ := got.Metadata().Labels().Get("colour"); got.(*testdaemon.Item).TypedSpec().Value != "1" || got.Metadata().Owner() != "me" || colour != "red" {
		t.Errorf("it came back as %v", got)
	}
}

// A file of another version, or a torn one, is as good as none: half of what belongs together is not restored either.
func TestResourcesThatCannotBeRead(t *testing.T) {
	testdaemon.Register()

	path := filepath.Join(t.TempDir(), "clockd.resources")
	whole := "dactyl resources 1\n"

	for _, text := range []string{
		"", whole, sealed(""), sealed("dactyl resources 2\n"), sealed("\x05hello"), sealed(whole + "\x05hello"), sealed(whole + "\xff"), sealed(whole)[1:],
	} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}

		var log strings.Builder

		st := state.WrapCore(namespaced.NewState(inmem.Build))
		(&keep.Resources{Path: path, Kinds: kinds(), Log: slog.New(slog.NewTextHandler(&log, nil))}).Restore(t.Context(), st)

		if !strings.Contains(log.String(), path) {
			t.Errorf("%q: the log is %q", text, log.String())
		}
	}

	// None at all is the first start of a boot.
	var log strings.Builder

	st := state.WrapCore(namespaced.NewState(inmem.Build))
	(&keep.Resources{Path: path + ".none", Kinds: kinds(), Log: slog.New(slog.NewTextHandler(&log, nil))}).Restore(t.Context(), st)

	if log.Len() > 0 {
		t.Errorf("the log is %q", log.String())
	}
}
