// Package kittest is the test harness of daemons: whole binaries in temporary directories, network namespaces, waiting.
package kittest

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

var update = flag.Bool("update", false, "write golden files instead of comparing")

// RequireRoot skips the test loudly when it does not run as root; CI fails on skips.
func RequireRoot(t testing.TB) {
	t.Helper()

	if os.Geteuid() != 0 {
		t.Skip("SKIPPED: this test needs root")
	}
}

// pollInterval is how often conditions are looked at.
const pollInterval = 5 * time.Millisecond

// Await polls cond until it holds, and fails the test after timeout; what says what was awaited.
func Await(t testing.TB, timeout time.Duration, what string, cond func() bool) {
	t.Helper()

	for deadline := time.Now().Add(timeout); !cond(); time.Sleep(pollInterval) {
		if time.Now().After(deadline) {
			t.Fatalf("awaited %s for %s in vain", what, timeout)
		}
	}
}

// AwaitNoError polls cond until it gives nil, and fails the test with its last error after timeout.
func AwaitNoError(t testing.TB, timeout time.Duration, cond func() error) {
	t.Helper()

	for deadline := time.Now().Add(timeout); ; time.Sleep(pollInterval) {
		err := cond()
		if err == nil {
			return
		}

		if time.Now().After(deadline) {
			t.Fatalf("after %s still: %v", timeout, err)
		}
	}
}

// Freeze stops a process without ending it, and returns when none of its threads runs any more: the signal takes a moment.
func Freeze(t testing.TB, pid int) {
	t.Helper()

	if err := syscall.Kill(pid, syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}

	AwaitNoError(t, 10*time.Second, func() error {
		threads, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/stat", pid))
		if err != nil {
			return err
		}

		for _, thread := range threads {
			// The state is what follows the name, which may hold anything (proc(5)).
			if stat, err := os.ReadFile(thread); err == nil && !strings.HasPrefix(string(stat[bytes.LastIndexByte(stat, ')')+1:]), " T") {
				return fmt.Errorf("%s: %s", thread, stat)
			}
		}

		return nil
	})
}

// Golden compares got with the file testdata/NAME; with -update it writes the file instead.
func Golden(t testing.TB, name string, got []byte) {
	t.Helper()

	path := filepath.Join("testdata", name)

	if *update {
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}

		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}

		return
	}

	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatalf("%v (run with -update to write it)", err)
	}

	if string(want) != string(got) {
		t.Errorf("%s differs (run with -update if the new text is right)\n--- want\n%s\n--- got\n%s", path, want, got)
	}
}
