package main

import (
	"testing"
	"time"
)

func TestRefusesToRunOnAnythingButAnInitramfs(t *testing.T) {
	if refuse(2) == nil {
		t.Error("runs although it is not PID 1")
	}

	if refuse(1) == nil {
		t.Skip("the tests' own root is in memory")
	}
}

func TestRebootAfterPanicParameter(t *testing.T) {
	for line, want := range map[string]struct {
		wait    time.Duration
		reboots bool
	}{
		"":                                 {patience, true},
		"console=ttyS0 panic=5":            {5 * time.Second, true},
		"panic=5 panic=30\n":               {30 * time.Second, true},
		"panic=-1":                         {0, true},
		"panic=0":                          {0, false},
		"panic_on_oops=1 panic=soon quiet": {patience, true},
	} {
		if wait, reboots := afterPanic(line); wait != want.wait || reboots != want.reboots {
			t.Errorf("%q: %s %t, want %s %t", line, wait, reboots, want.wait, want.reboots)
		}
	}
}
