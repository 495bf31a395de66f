package debian_test

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/dactyl-os/dactyl/rootfs/internal/debian"
)

func TestPackageWithAnotherDigestIsRefused(t *testing.T) {
	cache := debian.Cache{Dir: t.TempDir(), Log: t.Logf}
	file := filepath.Join(cache.Dir, "debs", "nft_1%3a2_amd64.deb")

	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		t.Fatal(err)
	}

	if err := os.WriteFile(file, []byte("something else"), 0o644); err != nil {
		t.Fatal(err)
	}

	pinned := strings.Repeat("0", 64)

	_, err := cache.Unpack(t.Context(), debian.Package{Name: "nft", Version: "1:2", Arch: "amd64", SHA256: pinned})
	if err == nil || !strings.Contains(err.Error(), "pinned is "+pinned) {
		t.Errorf("error is %v, want the pinned digest named", err)
	}
}

// repository is a Debian mirror in a directory, with one package of one version.
type repository struct{ dir, sources string }

func newRepository(t *testing.T) repository {
	t.Helper()

	r := repository{dir: t.TempDir(), sources: t.TempDir()}
	write(t, filepath.Join(r.sources, "sources.list"), "deb [trusted=yes] file://"+r.dir+" ./\n")

	return r
}

// offer replaces the package by another version.
func (r repository) offer(t *testing.T, version string) debian.Package {
	t.Helper()

	control := "Package: one\nVersion: " + version + "\nArchitecture: all\nMaintainer: test <test@localhost>\nDescription: test\n"
	source := t.TempDir()
	write(t, filepath.Join(source, "DEBIAN", "control"), control)
	write(t, filepath.Join(source, "usr", "share", "version"), version)

	file := filepath.Join(r.dir, "one.deb")
	if out, err := exec.Command("dpkg-deb", "--root-owner-group", "-b", source, file).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}

	content, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}

	digest := fmt.Sprintf("%x", sha256.Sum256(content))
	write(t, filepath.Join(r.dir, "Packages"), fmt.Sprintf("%sFilename: ./one.deb\nSize: %d\nSHA256: %s\n", control, len(content), digest))

	return debian.Package{Name: "one", Version: version, Arch: "all", SHA256: digest}
}

func write(t *testing.T, file, content string) {
	t.Helper()

	if err := errors.Join(os.MkdirAll(filepath.Dir(file), 0o755), os.WriteFile(file, []byte(content), 0o644)); err != nil {
		t.Fatal(err)
	}
}

func TestPinNewerThanThePackageLists(t *testing.T) {
	mirror := newRepository(t)
	cache := debian.Cache{Dir: t.TempDir(), Sources: mirror.sources, Log: t.Logf}

	for _, version := range []string{"1", "2"} {
		dir, err := cache.Unpack(t.Context(), mirror.offer(t, version))
		if err != nil {
			t.Fatal(err)
		}

		if got, err := os.ReadFile(filepath.Join(dir, "usr", "share", "version")); string(got) != version {
			t.Errorf("version %s: got %q, %v", version, got, err)
		}
	}

	gone := debian.Package{Name: "one", Version: "1.5", Arch: "all", SHA256: strings.Repeat("0", 64)}
	if _, err := cache.Unpack(t.Context(), gone); err == nil || !strings.Contains(err.Error(), "pin a newer one") {
		t.Errorf("a version that is gone: %v", err)
	}
}
