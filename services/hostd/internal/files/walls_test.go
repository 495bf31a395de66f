package files_test

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/dactyl-os/dactyl/services/hostd/internal/files"
)

// TestLinksStayInside: links are followed as a process would whose root this is: absolute ones begin there, none leaves it.
func TestLinksStayInside(t *testing.T) {
	secret := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(secret, []byte("outside"), 0o600); err != nil {
		t.Fatal(err)
	}

	root, dir := tree(t)

	for name, target := range map[string]string{
		"absolute": "/etc/hosts", "out": secret, "up": "../../../../../../../.." + secret, "dir-out": filepath.Dir(secret),
	} {
		if err := os.Symlink(target, filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}

	if text, err := read(root, "/absolute"); text != "127.0.0.1 localhost\n" {
		t.Errorf("an absolute link: %q, %v", text, err)
	}

	for _, path := range []string{"/out", "/up", "/dir-out/secret"} {
		if text, err := read(root, path); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s: %q, %v", path, text, err)
		}

		if err := root.Archive(t.Context(), path, io.Discard); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("copy %s: %v", path, err)
		}
	}

	if err := root.List(t.Context(), "/dir-out", files.ListOptions{Depth: 1}, nil); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("list: %v", err)
	}
}

// TestNoFiles: what is no file is refused by name, alone as well, and nobody waits for its other end.
func TestNoFiles(t *testing.T) {
	root, dir := tree(t)

	if err := errors.Join(unix.Mkfifo(filepath.Join(dir, "fifo"), 0o600), unix.Mknod(filepath.Join(dir, "socket"), unix.S_IFSOCK|0o600, 0)); err != nil {
		t.Fatal(err)
	}

	for path, kind := range map[string]string{"/fifo": "a named pipe", "/socket": "a socket"} {
		_, err := read(root, path)
		if !errors.Is(err, files.ErrNotRegular) || !strings.Contains(err.Error(), kind) {
			t.Errorf("read %s: %v", path, err)
		}

		err = root.Archive(t.Context(), path, io.Discard)
		if !errors.Is(err, files.ErrNotRegular) || !strings.Contains(err.Error(), kind) {
			t.Errorf("copy %s: %v", path, err)
		}
	}

	if _, err := read("/", "/proc/kmsg"); !errors.Is(err, files.ErrTaken) {
		t.Errorf("the kernel's log: %v", err)
	}
}

// TestKernelFilesAreCopiedWhole: files that say they are empty, or as long as a page, are as long as what they give.
func TestKernelFilesAreCopiedWhole(t *testing.T) {
	for _, path := range []string{"/proc/filesystems", "/proc/sys/kernel", "/sys/kernel/mm/transparent_hugepage/enabled"} {
		if _, err := os.Stat(path); err != nil {
			t.Logf("%s is not here", path)

			continue
		}

		var out bytes.Buffer

		err := files.Root("/").Archive(t.Context(), path, &out)
		if lost := (*files.Unreadable)(nil); err != nil && !errors.As(err, &lost) {
			t.Fatal(err)
		}

		got := untar(t, &out)
		for name, check := range map[string]string{"filesystems": "/proc/filesystems", "ostype": "/proc/sys/kernel/ostype", "enabled": path} {
			if want, err := os.ReadFile(check); got[name] != "" && (err != nil || got[name] != string(want)) {
				t.Errorf("%s: %q, want %q", name, got[name], want)
			}
		}

		if len(got) == 0 || got["filesystems"]+got["ostype"]+got["enabled"] == "" {
			t.Errorf("%s: nothing is copied: %d files", path, len(got))
		}
	}
}

// TestCopyGoesOn: a file that cannot be read costs only itself, and is named at the end.
func TestCopyGoesOn(t *testing.T) {
	var out bytes.Buffer

	// A process's memory opens and gives an error at its first byte.
	err := files.Root("/").Archive(t.Context(), "/proc/self", &out)

	lost := (*files.Unreadable)(nil)
	if !errors.As(err, &lost) || lost.Copied == 0 || !strings.Contains(err.Error(), "could not be read: /proc/") {
		t.Fatalf("%v", err)
	}

	if got := untar(t, &out); !strings.Contains(got["status"], "Threads:") {
		t.Errorf("what can be read is not copied: %d files", len(got))
	}
}

func read(root files.Root, path string) (string, error) {
	file, err := root.Open(path)
	if err != nil {
		return "", err
	}
	defer file.Close()

	data, err := io.ReadAll(file)

	return string(data), err
}
