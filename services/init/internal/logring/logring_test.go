package logring_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/dactyl-os/dactyl/services/init/internal/logring"
)

func open(t *testing.T, dir string, half int64) *logring.Ring {
	t.Helper()

	ring, err := logring.Open(dir, "a", half)
	if err != nil {
		t.Fatal(err)
	}

	t.Cleanup(func() { _ = ring.Close() })

	return ring
}

func write(t *testing.T, ring *logring.Ring, from, to int) {
	t.Helper()

	for i := from; i < to; i++ {
		if _, err := fmt.Fprintf(ring, "line %03d\n", i); err != nil {
			t.Fatal(err)
		}
	}
}

func TestTailAcrossTheTurn(t *testing.T) {
	// Nine bytes a line, ten lines a file: lines 10 to 24 are kept.
	ring := open(t, t.TempDir(), 90)
	write(t, ring, 0, 25)

	for _, n := range []int{0, 1, 4, 5, 6, 15, 16, 100, -1} {
		want := n
		if n < 0 || n > 15 {
			want = 15
		}

		got := ring.Tail(n)
		if len(got) != want {
			t.Fatalf("tail %d gave %d lines: %q", n, len(got), got)
		}

		for i, line := range got {
			if expected := fmt.Sprintf("line %03d", 25-want+i); line != expected {
				t.Errorf("tail %d: line %d is %q, want %q", n, i, line, expected)
			}
		}
	}
}

func TestTailOfLongLines(t *testing.T) {
	ring := open(t, t.TempDir(), 1<<20)
	long := strings.Repeat("x", 10_000)

	for i := range 5 {
		if _, err := fmt.Fprintf(ring, "%d%s\n", i, long); err != nil {
			t.Fatal(err)
		}
	}

	got := ring.Tail(2)
	if len(got) != 2 || got[0] != "3"+long || got[1] != "4"+long {
		t.Errorf("got %d lines", len(got))
	}
}

func TestSpaceIsBounded(t *testing.T) {
	dir := t.TempDir()
	ring := open(t, dir, 1000)
	write(t, ring, 0, 1000)

	var total int64

	for _, name := range []string{"a.log", "a.log.1"} {
		info, err := os.Stat(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}

		total += info.Size()
	}

	if total > 2000 {
		t.Errorf("%d bytes on disk", total)
	}
}

func TestPreviousBootIsKept(t *testing.T) {
	dir := t.TempDir()

	first := open(t, dir, 90)
	write(t, first, 0, 5)
	second := open(t, dir, 90)
	expectPrevious(t, dir, 0, 5)
	write(t, second, 100, 115)
	_ = open(t, dir, 90)
	expectPrevious(t, dir, 100, 115)

	if _, err := os.Stat(filepath.Join(dir, "a.log.1")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the older half is still there: %v", err)
	}
}

func expectPrevious(t *testing.T, dir string, from, to int) {
	t.Helper()

	data, err := os.ReadFile(logring.PreviousPath(dir, "a"))
	if err != nil {
		t.Fatal(err)
	}

	var want strings.Builder
	for i := from; i < to; i++ {
		fmt.Fprintf(&want, "line %03d\n", i)
	}

	if string(data) != want.String() {
		t.Errorf("previous boot's log:\n%s", data)
	}
}

func TestFollowSeesEveryLineAcrossTurns(t *testing.T) {
	ring := open(t, t.TempDir(), 5000)
	write(t, ring, 0, 3)

	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()

	seen := make(chan string, 1000)
	done := make(chan error, 1)

	go func() {
		done <- ring.Read(ctx, 2, true, func(p []byte) error {
			for line := range strings.Lines(string(p)) {
				seen <- line
			}

			return nil
		})
	}()

	for i := 1; i < 900; i++ {
		if i >= 3 {
			write(t, ring, i, i+1)
		}

		if got, want := <-seen, fmt.Sprintf("line %03d\n", i); got != want {
			t.Fatalf("got %q, want %q", got, want)
		}
	}

	cancel()

	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

func TestMoveTakesTheLogAlong(t *testing.T) {
	scratch, disk := t.TempDir(), t.TempDir()

	before := open(t, disk, 90)
	write(t, before, 500, 503)

	ring := open(t, scratch, 90)
	write(t, ring, 0, 15)

	if err := ring.Move(disk); err != nil {
		t.Fatal(err)
	}

	write(t, ring, 15, 17)

	got := ring.Tail(100)
	if len(got) != 17 || got[0] != "line 000" || got[16] != "line 016" {
		t.Errorf("after the move the log is %q", got)
	}

	previous, err := os.ReadFile(logring.PreviousPath(disk, "a"))
	if err != nil || string(previous) != "line 500\nline 501\nline 502\n" {
		t.Errorf("the boot before is %q, %v", previous, err)
	}

	kept, err := os.ReadFile(filepath.Join(disk, "a.log"))
	if err != nil || !strings.HasSuffix(string(kept), "line 016\n") {
		t.Errorf("on the disk is %q, %v", kept, err)
	}
}
