package kittest

import (
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"os/exec"
	"path"
	"path/filepath"
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

// build puts the binary where the next test process finds it: what is up to date there is not linked again. Not into the tree: tests start
// daemons as users who may not look into it.
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

	// It may be in another module.
	if strings.HasPrefix(pkg, ".") {
		dir, pkg = filepath.Join(dir, pkg), "."
	}

	bin := filepath.Join(base, url.PathEscape(dir), name)
	if err := os.MkdirAll(filepath.Dir(bin), 0o755); err != nil {
		return "", err
	}

	cmd := exec.Command("go", "build", "-trimpath", "-o", bin, pkg)
	cmd.Dir = dir

	if text, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build %s: %w\n%s", pkg, err, text)
	}

	return bin, nil
}

// removeDead removes the binaries of trees that are gone.
func removeDead(base string) {
	entries, _ := os.ReadDir(base)

	for _, entry := range entries {
		if source, err := url.PathUnescape(entry.Name()); err == nil && !exists(source) {
			os.RemoveAll(filepath.Join(base, entry.Name()))
		}
	}
}

func exists(path string) bool {
	_, err := os.Stat(path)

	return !errors.Is(err, fs.ErrNotExist)
}
