package lastrun_test

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/dactyl-os/dactyl/services/etcdd/internal/lastrun"
)

func TestRuns(t *testing.T) {
	path := filepath.Join(t.TempDir(), "etcdd.json")

	begin := func(want lastrun.Run) *lastrun.File {
		t.Helper()

		last, file, err := lastrun.Begin(path)
		if err != nil || last.Member != want.Member || last.Ended != want.Ended {
			t.Errorf("the last run was %+v, want %+v: %v", last, want, err)
		}

		return file
	}

	first := begin(lastrun.Run{})
	if err := first.Member(7); err != nil {
		t.Fatal(err)
	}

	begin(lastrun.Run{Member: 7}) // after a crash

	if err := begin(lastrun.Run{Member: 7}).End(); err != nil {
		t.Fatal(err)
	}

	begin(lastrun.Run{Member: 7, Ended: true})
	begin(lastrun.Run{Member: 7})
}

func TestUnreadableIsToldAndCountsAsNone(t *testing.T) {
	path := filepath.Join(t.TempDir(), "etcdd.json")

	for _, text := range []string{"", "{", `{"member":7,"ended":true}`, `{"format":2,"member":7,"ended":true}`} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}

		if last, file, err := lastrun.Begin(path); last != (lastrun.Run{}) || file == nil || err == nil {
			t.Errorf("%q: %+v %v", text, last, err)
		}
	}
}

func TestCrashesInARow(t *testing.T) {
	now := time.Now()

	for _, tc := range []struct {
		run  lastrun.Run
		want int
	}{
		{lastrun.Run{}, 0},
		{lastrun.Run{Began: now.Add(-time.Second), Ended: true, Crashes: 3}, 0},
		{lastrun.Run{Began: now.Add(-time.Second), Crashes: 1}, 2},
		{lastrun.Run{Began: now.Add(-time.Hour), Crashes: 4}, 1},
	} {
		if got := tc.run.Again(now); got != tc.want {
			t.Errorf("%+v: %d crashes in a row, want %d", tc.run, got, tc.want)
		}
	}
}
