package kernel

import (
	"slices"
	"testing"
	"time"

	"github.com/dactyl-os/dactyl/services/kit/cmdline"
)

func TestMissing(t *testing.T) {
	for line, want := range map[string][]string{
		"init_on_alloc=1 slab_nomerge pti=on":        nil,
		"init_on_alloc=1 slab_nomerge= pti=on":       nil,
		"quiet init_on_alloc=0 pti=off slab_nomerge": {"init_on_alloc=1", "pti=on"},
		"init_on_alloc=0 init_on_alloc=1 pti=on":     {"slab_nomerge"},
		"console=ttyS0 -- init_on_alloc=1 pti=on":    {"init_on_alloc=1", "slab_nomerge", "pti=on"},
	} {
		if got := Missing(cmdline.Parse(line)); !slices.Equal(got, want) {
			t.Errorf("%s: missing %q, want %q", line, got, want)
		}
	}
}

func TestPanicDelay(t *testing.T) {
	type answer struct {
		delay  time.Duration
		reboot bool
	}

	for line, want := range map[string]answer{
		"":            {10 * time.Second, true},
		"panic=3":     {3 * time.Second, true},
		"panic=0":     {0, false},
		"panic=-1":    {0, true},
		"panic=often": {10 * time.Second, true},
	} {
		delay, reboot := PanicDelay(cmdline.Parse(line))
		if got := (answer{delay, reboot}); got != want {
			t.Errorf("%q: %v, want %v", line, got, want)
		}
	}
}
