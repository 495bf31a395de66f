package backoff_test

import (
	"context"
	"testing"
	"time"

	"github.com/dactyl-os/dactyl/services/kit/backoff"
)

func TestPauses(t *testing.T) {
	b := backoff.Backoff{First: 10, Most: 50}

	for range 2 {
		for i, want := range []time.Duration{10, 20, 40, 50, 50} {
			if got := b.Next(); got != want || b.Last() != want {
				t.Errorf("pause %d is %d, want %d", i, got, want)
			}
		}

		if b.Reset(); b.Last() != 0 {
			t.Errorf("after a success: %d", b.Last())
		}
	}

	if !b.Sleep(t.Context()) {
		t.Error("no attempt after the pause")
	}

	ctx, cancel := context.WithCancel(t.Context())
	cancel()

	if b = (backoff.Backoff{First: time.Hour, Most: time.Hour}); b.Sleep(ctx) {
		t.Error("an attempt after the end")
	}
}
