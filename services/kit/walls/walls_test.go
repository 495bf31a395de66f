package walls_test

import (
	"path/filepath"
	"testing"

	"github.com/dactyl-os/dactyl/services/kit/walls"
)

// TestDaemonsDoNotImportEachOther is the repository's rule; the kit's tests are where every build passes by.
func TestDaemonsDoNotImportEachOther(t *testing.T) {
	root, err := filepath.Abs("../../..")
	if err != nil {
		t.Fatal(err)
	}

	breaches, err := walls.Check(root)
	if err != nil {
		t.Fatal(err)
	}

	for _, breach := range breaches {
		t.Error(breach)
	}
}

func TestWhy(t *testing.T) {
	for _, tc := range []struct {
		file, imported string
		allowed        bool
	}{
		{"services/networkd/networkd.go", walls.Prefix + "services/networkd/internal/plan", true},
		{"services/networkd/networkd.go", walls.Prefix + "services/kit/daemon", true},
		{"services/networkd/networkd.go", walls.Prefix + "proto/machine", true},
		{"services/networkd/networkd.go", walls.Prefix + "services/trustd", false},
		{"services/networkd/internal/plan/plan_test.go", walls.Prefix + "services/trustd", false},
		{"services/kit/daemon/env.go", walls.Prefix + "services/networkd", false},
		{"proto/config/config.go", walls.Prefix + "services/kit/atomicfile", false},
		{"services/dactyl/main.go", walls.Prefix + "services/networkd", true},
		{"services/networkd/networkd.go", walls.Prefix + "services/dactyl", false},
		{"services/networkd/networkd.go", walls.Prefix + "tools/e2e", false},
		{"tools/dactylctl/main.go", walls.Prefix + "services/kit/version", true},
		{"tools/dactylctl/main.go", "github.com/siderolabs/talos/pkg/machinery/api/machine", false},
		{"tools/dactylctl/main.go", "github.com/siderolabs/gen/maps", true},
		{"services/networkd/networkd.go", "net/netip", true},
	} {
		if why := walls.Why(tc.file, tc.imported); (why == "") != tc.allowed {
			t.Errorf("%s imports %s: %q", tc.file, tc.imported, why)
		}
	}
}
