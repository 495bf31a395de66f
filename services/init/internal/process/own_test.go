package process

import (
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/dactyl-os/dactyl/services/init/internal/manifest"
	"github.com/dactyl-os/dactyl/services/kit/kittest"
)

// TestAVolumeComesLate: what a volume of an earlier version holds is given to the daemons' users when it is mounted, before
// or after they are started; nothing outside, and nothing that is somebody else's already.
func TestAVolumeComesLate(t *testing.T) {
	kittest.RequireRoot(t)

	root := t.TempDir()
	configd := manifest.Manifest{Name: "configd", User: 51, Owns: []string{"/system/state"}}
	discoveryd := manifest.Manifest{
		Name: "discoveryd", User: 53, Owns: []string{"/system/state/discoveryd"}, Adopts: []string{"/system/state/identity", "/system/state/none"},
	}
	etcdd := manifest.Manifest{Name: "etcdd", User: 54, Owns: []string{"/var/lib/etcd"}}
	r := &Runner{root: root, runDir: filepath.Join(root, "run"), manifests: []manifest.Manifest{discoveryd, etcdd, configd}}

	// An outsider that a link in the volume leads to.
	place := func(path string) string { return filepath.Join(root, path) }
	if err := errors.Join(os.MkdirAll(place("system/state/sub"), 0o755), os.WriteFile(place("outside"), nil, 0o600),
		os.WriteFile(place("system/state/config.yaml"), nil, 0o600), os.WriteFile(place("system/state/identity"), []byte("me"), 0o600),
		os.WriteFile(place("system/state/sub/file"), nil, 0o600), os.WriteFile(place("system/state/other"), nil, 0o600),
		os.Chown(place("system/state/other"), 99, 99), os.Symlink(place("outside"), place("system/state/link"))); err != nil {
		t.Fatal(err)
	}

	for range 2 {
		if err := errors.Join(r.own(configd), r.Mounted("/system/state")); err != nil {
			t.Fatal(err)
		}
	}

	// An administrator puts a file back, and somebody wants one that is not his.
	if err := errors.Join(os.Remove(place("system/state/config.yaml")), os.WriteFile(place("system/state/config.yaml"), nil, 0o600),
		os.Link(place("outside"), place("system/state/linked")), r.own(configd)); err != nil {
		t.Fatal(err)
	}

	for path, want := range map[string]uint32{
		"outside": 0, "system": 0, "system/state": 51, "system/state/config.yaml": 51, "system/state/sub/file": 51, "system/state/link": 51,
		"system/state/other": 99, "system/state/discoveryd": 53, "system/state/discoveryd/identity": 53, "run/configd": 51,
	} {
		var stat syscall.Stat_t
		if err := syscall.Lstat(place(path), &stat); err != nil || stat.Uid != want {
			t.Errorf("%s: user %d, want %d, %v", path, stat.Uid, want, err)
		}
	}

	for path, want := range map[string]os.FileMode{"system/state": 0o711, "system/state/discoveryd": 0o700, "run/configd": 0o700} {
		if info, err := os.Stat(place(path)); err != nil || info.Mode().Perm() != want {
			t.Errorf("%s: mode %v, want %v, %v", path, info.Mode(), want, err)
		}
	}

	if _, err := os.Stat(place("var/lib/etcd")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("another volume's directory is made: %v", err)
	}
}
