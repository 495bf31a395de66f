package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/dactyl-os/dactyl/rootfs/internal/spec"
	"github.com/dactyl-os/dactyl/rootfs/internal/tree"
)

func checker(t *testing.T, committed string) *builder {
	t.Helper()

	b := &builder{options: options{repository: t.TempDir(), arch: "arm64"}, spec: &spec.Spec{}}
	b.spec.Packages.Loader = map[string]string{"arm64": "ld-linux-aarch64.so.1"}

	file := filepath.Join(b.repository, "rootfs", "executables.txt")
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		t.Fatal(err)
	}

	if err := os.WriteFile(file, []byte(committed), 0o644); err != nil {
		t.Fatal(err)
	}

	return b
}

func TestImageWithAnotherExecutableIsRefused(t *testing.T) {
	b := checker(t, "program /usr/bin/init\nscript /usr/bin/wanted\n")
	fs := tree.New()
	fs.Data("/usr/bin/wanted", []byte("#!"), 0o755)
	fs.Data("/usr/bin/bash", []byte("#!"), 0o755)

	err := b.check(fs)
	if err == nil {
		t.Fatal("no error")
	}

	for _, want := range []string{"missing: program /usr/bin/init\n", "new: script /usr/bin/bash\n"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q does not say %q", err, want)
		}
	}
}

func TestOneListHoldsForAllArchitectures(t *testing.T) {
	b := checker(t, "script /usr/lib/ld-linux-ARCH.so\n")
	fs := tree.New()
	fs.Data("/usr/lib/ld-linux-aarch64.so.1", []byte("#!"), 0o755)

	if err := b.check(fs); err != nil {
		t.Error(err)
	}
}

// The committed list is the promise: no shell, no package manager, no interpreter but the loader of libc.
func TestCommittedListHasNoShell(t *testing.T) {
	data, err := os.ReadFile("../executables.txt")
	if err != nil {
		t.Fatal(err)
	}

	for line := range strings.Lines(string(data)) {
		fields := strings.Fields(line)
		name := filepath.Base(fields[1])

		if fields[0] == "script" || fields[0] == "unknown" {
			t.Errorf("not a program: %s", line)
		}

		switch name {
		case "sh", "bash", "dash", "busybox", "python3", "perl", "apt", "dpkg", "rpm":
			t.Errorf("no place for %s", name)
		}
	}
}

func TestManifestsOfRaceBuildsHaveNoLimitOfMemory(t *testing.T) {
	if got := string(unlimited([]byte("name: timed\nmemory: 64Mi\nneeds: [configd]\n"))); got != "name: timed\nneeds: [configd]\n" {
		t.Errorf("manifest is %q", got)
	}
}
