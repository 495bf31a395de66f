package main

import (
	"os"
	"path/filepath"
	"testing"
)

// TestInstallOverARunningPlugin: a program that runs cannot be written to (ETXTBSY); it is replaced.
func TestInstallOverARunningPlugin(t *testing.T) {
	from, to := t.TempDir(), filepath.Join(t.TempDir(), "bin")

	for _, text := range []string{"old", "new"} {
		if err := os.WriteFile(filepath.Join(from, "bridge"), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}

		before, _ := os.Stat(filepath.Join(to, "bridge"))

		if err := install(from, to); err != nil {
			t.Fatal(err)
		}

		after, err := os.Stat(filepath.Join(to, "bridge"))
		if err != nil {
			t.Fatal(err)
		}

		if after.Mode().Perm() != 0o755 || before != nil && os.SameFile(before, after) {
			t.Errorf("%s: mode %v, the same file: %v", text, after.Mode(), before != nil)
		}

		if got, err := os.ReadFile(filepath.Join(to, "bridge")); err != nil || string(got) != text {
			t.Errorf("installed %q (%v)", got, err)
		}
	}

	if left, err := os.ReadDir(to); err != nil || len(left) != 1 {
		t.Errorf("left behind: %v (%v)", left, err)
	}
}
