package checkpoint_test

import (
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/dactyl-os/dactyl/services/networkd/internal/checkpoint"
	"github.com/dactyl-os/dactyl/services/networkd/internal/plan"
	"github.com/dactyl-os/dactyl/services/networkd/internal/spec"
)

func TestRoundTrip(t *testing.T) {
	path := filepath.Join(t.TempDir(), "run", "network.json")

	f, err := checkpoint.Open[checkpoint.Network](path, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}

	f.Value = checkpoint.Network{
		Owned: plan.Owned{Addresses: []string{"eth0/10.0.0.1/8"}, MTU: map[string]uint32{"eth0": 1500}},
		Sets: []spec.Set{{
			Links:     []spec.Link{{Name: "eth0", Up: true, Layer: spec.Configuration}},
			Routes:    []spec.Route{{Gateway: netip.MustParseAddr("10.0.0.1"), Link: "eth0", Priority: 1024, Layer: spec.Cmdline}},
			Resolvers: spec.Resolvers{Servers: []netip.Addr{netip.MustParseAddr("fd00::53")}},
		}},
		Complete: true,
	}

	if err := f.Save(); err != nil {
		t.Fatal(err)
	}

	again, err := checkpoint.Open[checkpoint.Network](path, slog.New(slog.DiscardHandler))
	if err != nil || !reflect.DeepEqual(again.Value, f.Value) {
		t.Fatalf("%v\ngot  %+v\nwant %+v", err, again.Value, f.Value)
	}
}

// A file that another version wrote, or a torn one, is as good as none.
func TestUnreadable(t *testing.T) {
	path := filepath.Join(t.TempDir(), "network.json")

	for _, text := range []string{"", "{", `{"owned": {}}`, `{"format": 2, "value": {"complete": true}}`, `{"format": 1, "value": {"sets":[{"links":7}]}}`} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}

		var log strings.Builder

		f, err := checkpoint.Open[checkpoint.Network](path, slog.New(slog.NewTextHandler(&log, nil)))
		if err != nil || !reflect.DeepEqual(f.Value, checkpoint.Network{}) {
			t.Errorf("%q: %+v %v", text, f.Value, err)
		}

		if !strings.Contains(log.String(), "level=WARN") || !strings.Contains(log.String(), path) {
			t.Errorf("%q: the log is %q", text, log.String())
		}
	}
}
