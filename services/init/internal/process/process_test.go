package process

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

func TestParseStat(t *testing.T) {
	// A name may hold spaces and parentheses.
	stat := "42 (a) b) S 1 42 42 0 -1 4194560 100 0 0 0 150 50 0 0 20 0 9 0 12345 1000000 300 18446744073709551615"

	usage, err := parseStat([]byte(stat))
	if err != nil {
		t.Fatal(err)
	}

	if want := (Usage{CPU: 2 * time.Second, Memory: 300 * uint64(os.Getpagesize())}); usage != want {
		t.Errorf("got %+v, want %+v", usage, want)
	}

	for _, bad := range []string{"", "42 (a) S 1", strings.Replace(stat, "150", "x", 1)} {
		if _, err := parseStat([]byte(bad)); err == nil {
			t.Errorf("%q parsed", bad)
		}
	}
}

func TestDescribe(t *testing.T) {
	for want, status := range map[string]syscall.WaitStatus{
		"exit status 0": 0, "exit status 2": 2 << 8, "killed": 9, "signal: segmentation fault": 11,
	} {
		if got := describe(status); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

func TestSocketIsReplacedAndNothingElse(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.sock")

	for range 2 {
		file, err := openUnix(path)
		if err != nil {
			t.Fatal(err)
		}
		defer file.Close()
	}

	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o660 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}

	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}

	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}

	if _, err := openUnix(path); err == nil || !strings.Contains(err.Error(), "is in the way: it is not a socket") {
		t.Errorf("a file was replaced: %v", err)
	}
}

func TestReservedNames(t *testing.T) {
	for _, name := range []string{"init", "root"} {
		if dir, err := (&Cgroups{root: t.TempDir()}).open(name, 0, false); dir != nil || err == nil {
			t.Errorf("a service called %s has the group %v, %v", name, dir, err)
		}
	}
}

func TestWithoutCgroups(t *testing.T) {
	var cgroups *Cgroups

	if dir, err := cgroups.open("a", 1<<20, false); dir != nil || err != nil {
		t.Errorf("%v, %v", dir, err)
	}

	cgroups.kill("a")

	if _, counted := cgroups.memoryUsage("a"); counted {
		t.Error("memory was counted")
	}
}
