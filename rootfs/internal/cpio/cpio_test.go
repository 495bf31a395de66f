package cpio_test

import (
	"bytes"
	"os/exec"
	"strings"
	"testing"

	"github.com/dactyl-os/dactyl/rootfs/internal/cpio"
	"github.com/dactyl-os/dactyl/rootfs/internal/tree"
)

func sample() *tree.Tree {
	t := tree.New()
	t.Data("/modules/a.ko", []byte("abc"), 0o644)
	t.Data("/init", []byte("program"), 0o755)
	t.Link("/bin", "usr/bin")
	t.Dir("/tmp", 0o777)
	t.Device("/dev/console", 0o600, 5, 1)

	return t
}

func TestArchiveIsReadBackByCpio(t *testing.T) {
	if _, err := exec.LookPath("cpio"); err != nil {
		t.Skip("cpio is not installed")
	}

	var out bytes.Buffer
	if err := cpio.Write(&out, sample().Entries(), 1700000000); err != nil {
		t.Fatal(err)
	}

	cmd := exec.Command("cpio", "--list", "--verbose", "--numeric-uid-gid")
	cmd.Stdin, cmd.Env = &out, []string{"TZ=UTC", "LC_ALL=C"}

	list, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, list)
	}

	for _, want := range []string{
		"-rwxr-xr-x   1 0        0               7 Nov 14  2023 init",
		"-rw-r--r--   1 0        0               3 Nov 14  2023 modules/a.ko",
		"bin -> usr/bin", "drwxrwxrwx", "crw-------   1 0        0          5,   1",
	} {
		if !strings.Contains(string(list), want) {
			t.Errorf("no %q in:\n%s", want, list)
		}
	}
}

func TestHeaderIsNewc(t *testing.T) {
	var out bytes.Buffer
	if err := cpio.Write(&out, sample().Entries(), 0); err != nil {
		t.Fatal(err)
	}

	if data := out.Bytes(); !bytes.HasPrefix(data, []byte("070701")) || len(data)%512 != 0 ||
		!bytes.Contains(data, []byte("TRAILER!!!\x00")) || bytes.Count(data, []byte("070701")) != 8 {
		t.Errorf("not a newc archive of 7 entries and a trailer: %q", data)
	}
}
