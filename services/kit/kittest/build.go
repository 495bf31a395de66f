package kittest

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
)

// BinDirEnv names a directory with binaries to use instead of building them.
const BinDirEnv = "DACTYL_BIN"

// builds are the binaries of this test process: each package is built once.
var builds sync.Map // package path → func() (string, error)

// Build gives the path of a main package's binary, built once for the test process. pkg is a path as `go build` takes it,
// seen from the test's directory. A binary of the same name in $DACTYL_BIN is used instead.
func Build(t testing.TB, pkg string) string {
	t.Helper()

	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}

	once, _ := builds.LoadOrStore(dir+"|"+pkg, sync.OnceValues(func() (string, error) { return build(dir, pkg) }))

	bin, err := once.(func() (string, error))() //nolint:forcetypeassert // stored above
	if err != nil {
		t.Fatal(err)
	}

	return bin
}

// build puts the binary into a directory of this test process. A test's TempDir would end with that test; what earlier
// test processes left behind is removed instead.
func build(dir, pkg string) (string, error) {
	name := path.Base(pkg)

	if given := os.Getenv(BinDirEnv); given != "" {
		bin := filepath.Join(given, name)
		if _, err := os.Stat(bin); err == nil {
			return bin, nil
		}
	}

	base := filepath.Join(os.TempDir(), "kittest-bin")
	removeDead(base)

	out := filepath.Join(base, strconv.Itoa(os.Getpid()))
	if err := os.MkdirAll(out, 0o755); err != nil {
		return "", err
	}

	bin := filepath.Join(out, name)
	cmd := exec.Command("go", "build", "-trimpath", "-o", bin, pkg)
	cmd.Dir = dir

	// It may be in another module.
	if strings.HasPrefix(pkg, "..") {
		cmd.Args[len(cmd.Args)-1], cmd.Dir = ".", filepath.Join(dir, pkg)
	}

	if text, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build %s: %w\n%s", pkg, err, text)
	}

	return bin, nil
}

// removeDead removes the directories of processes that are gone.
func removeDead(base string) {
	entries, _ := os.ReadDir(base)

	for _, entry := range entries {
		if _, err := os.Stat(filepath.Join("/proc", entry.Name())); errors.Is(err, fs.ErrNotExist) {
			os.RemoveAll(filepath.Join(base, entry.Name()))
		}
	}
}
