package image_test

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/dactyl-os/dactyl/rootfs/internal/image"
	"github.com/dactyl-os/dactyl/rootfs/internal/programs"
	"github.com/dactyl-os/dactyl/rootfs/internal/tree"
)

const epoch = 1700000000

// build makes a small image in dir: stage1 compiled, a root with a link, places and a file of the machine.
func build(t *testing.T, dir string) (root, initramfs []byte) {
	t.Helper()

	program := filepath.Join(dir, "stage1")
	if err := (programs.Program{Package: "./stage1", Dir: "../.."}).Build(t.Context(), "amd64", program); err != nil {
		t.Fatal(err)
	}

	source := filepath.Join(dir, "source")
	if err := os.WriteFile(source, bytes.Repeat([]byte("dactyl"), 100_000), 0o600); err != nil {
		t.Fatal(err)
	}

	fs := tree.New()
	fs.File("/usr/bin/init", program, 0o755)
	fs.File("/usr/share/text", source, 0o644)
	fs.Link("/bin", "usr/bin")
	fs.Dir("/tmp", os.ModeSticky|0o777)

	early := tree.New()
	early.File("/init", program, 0o755)

	sqsh, out := filepath.Join(dir, "root"), filepath.Join(dir, "initramfs")
	if err := image.Squashfs(t.Context(), fs, sqsh, epoch, image.Small); err != nil {
		t.Fatal(err)
	}

	if err := image.Initramfs(t.Context(), early, map[string]string{"/": sqsh, "/usr/lib/modules": sqsh}, out, epoch); err != nil {
		t.Fatal(err)
	}

	return read(t, sqsh), read(t, out)
}

func read(t *testing.T, file string) []byte {
	t.Helper()

	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}

	return data
}

// The second build has another directory, time zone, umask and time than the first.
func TestTwoBuildsGiveTheSameBytes(t *testing.T) {
	if _, err := exec.LookPath("mksquashfs"); err != nil {
		t.Skip("mksquashfs is not installed: make prepare")
	}

	root1, initramfs1 := build(t, t.TempDir())

	t.Setenv("TZ", "Asia/Tokyo")
	t.Setenv("SOURCE_DATE_EPOCH", "1")

	old := syscall.Umask(0o077)
	defer syscall.Umask(old)

	// Times in a squashfs are whole seconds.
	for start := time.Now().Unix(); time.Now().Unix() == start; {
		time.Sleep(10 * time.Millisecond)
	}

	root2, initramfs2 := build(t, t.TempDir())

	if !bytes.Equal(root1, root2) {
		t.Error("two root images differ")
	}

	if !bytes.Equal(initramfs1, initramfs2) {
		t.Error("two initramfs differ")
	}
}

func TestImageIsPackedAgainWhenSomethingInItChanged(t *testing.T) {
	if _, err := exec.LookPath("mksquashfs"); err != nil {
		t.Skip("mksquashfs is not installed: make prepare")
	}

	output := filepath.Join(t.TempDir(), "image")

	// Each step has the tree of all steps so far.
	fs := tree.New()
	steps := []struct {
		name   string
		change func()
		epoch  int64
		packs  bool
	}{
		{"the first time", func() { fs.Data("/file", []byte("a"), 0o644) }, epoch, true},
		{"nothing", func() {}, epoch, false},
		{"content", func() { fs.Data("/file", []byte("b"), 0o644) }, epoch, true},
		{"a mode", func() { fs.Data("/file", []byte("b"), 0o755) }, epoch, true},
		{"a link", func() { fs.Link("/link", "file") }, epoch, true},
		{"the time", func() {}, epoch + 1, true},
		{"a lost image", func() { os.Remove(output) }, epoch + 1, true},
		{"a stop half-way", func() { os.Remove(output + ".key") }, epoch + 1, true},
		{"nothing again", func() {}, epoch + 1, false},
	}

	for _, step := range steps {
		step.change()

		packed, err := image.Pack(t.Context(), fs, output, step.epoch, image.Fast)
		if err != nil || packed != step.packs {
			t.Errorf("%s: packed %t, %v, want %t", step.name, packed, err, step.packs)
		}
	}
}

func TestSquashfsHoldsWhatTheTreeSays(t *testing.T) {
	if _, err := exec.LookPath("unsquashfs"); err != nil {
		t.Skip("unsquashfs is not installed: make prepare")
	}

	dir := t.TempDir()
	build(t, dir)

	cmd := exec.Command("unsquashfs", "-lls", "-UTC", "-dest", "", filepath.Join(dir, "root"))

	list, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, list)
	}

	for _, want := range []string{
		"drwxr-xr-x root/root", "-rwxr-xr-x root/root", "/usr/bin/init", "/bin -> usr/bin", "drwxrwxrwt root/root",
		"2023-11-14 22:13 /usr/share/text",
	} {
		if !bytes.Contains(list, []byte(want)) {
			t.Errorf("no %q in:\n%s", want, list)
		}
	}
}

func TestUnknownPackingIsRefused(t *testing.T) {
	output := filepath.Join(t.TempDir(), "image")
	if err := os.WriteFile(output, []byte("the one before"), 0o644); err != nil {
		t.Fatal(err)
	}

	const want = `unknown packing "dens": small, fast or dense`
	if _, err := image.Pack(t.Context(), tree.New(), output, epoch, "dens"); err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}

	if got := read(t, output); string(got) != "the one before" {
		t.Errorf("the image before is now %q", got)
	}
}
