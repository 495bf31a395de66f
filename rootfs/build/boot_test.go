//go:build vm

package main

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/dactyl-os/dactyl/rootfs/internal/image"
	"github.com/dactyl-os/dactyl/rootfs/internal/programs"
	"github.com/dactyl-os/dactyl/rootfs/internal/tree"
)

// machine has a kernel, and stage1 in front of any root image. The pinned packages come from the repository's cache.
type machine struct {
	*builder
	early *tree.Tree
}

// emulators are the programs and what they need to know, by architecture.
var emulators = map[string][]string{
	"amd64": {"qemu-system-x86_64", "ttyS0"},
	"arm64": {"qemu-system-aarch64", "ttyAMA0", "-M", "virt"},
}

func newMachine(t *testing.T, arch string) machine {
	t.Helper()

	if program := emulators[arch][0]; !found(program) {
		t.Skipf("%s is not installed", program)
	}

	b, err := newBuilder(options{
		repository: "../..", out: t.TempDir(), cache: "../../_out/cache", arch: arch, epoch: 1700000000,
	}, os.Stderr)
	if err != nil {
		t.Fatal(err)
	}

	if err = b.kernel(t.Context()); err != nil {
		t.Fatal(err)
	}

	early, err := b.early(t.Context())
	if err != nil {
		t.Fatal(err)
	}

	return machine{b, early}
}

// boot runs the machine until it powers off or reboots, and gives its console. The log stays when the test fails.
func (m machine) boot(t *testing.T, images map[string]string, parameters string) string {
	t.Helper()

	initramfs := filepath.Join(m.out, "initramfs")
	if err := image.Initramfs(t.Context(), m.early, images, initramfs, m.epoch); err != nil {
		t.Fatal(err)
	}

	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()

	var console bytes.Buffer

	emulator := emulators[m.arch]
	cmd := exec.CommandContext(ctx, emulator[0], append([]string{"-accel", "tcg,thread=multi", "-cpu", "max", "-m", "512",
		"-nographic", "-no-reboot", "-nic", "none", "-kernel", m.output("vmlinuz-%s"), "-initrd", initramfs,
		"-append", "console=" + emulator[1] + " quiet " + parameters}, emulator[2:]...)...)
	cmd.Stdout, cmd.Stderr = &console, &console

	err := cmd.Run()

	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("console:\n%s", &console)
		}
	})

	if err != nil {
		t.Fatalf("the machine did not end by itself: %v", err)
	}

	return console.String()
}

func found(program string) bool {
	_, err := exec.LookPath(program)

	return err == nil
}

func TestStage1BecomesInit(t *testing.T) {
	for arch := range emulators {
		t.Run(arch, func(t *testing.T) { becomesInit(t, newMachine(t, arch)) })
	}
}

func becomesInit(t *testing.T, m machine) {
	t.Helper()

	stub := filepath.Join(m.out, "stub")

	if err := (programs.Program{Package: "./testdata/stub", Dir: "."}).Build(t.Context(), m.arch, stub); err != nil {
		t.Fatal(err)
	}

	fs := tree.New()
	fs.File("/usr/bin/init", stub, 0o755)

	for _, dir := range []string{"dev", "proc", "sys"} {
		fs.Dir(dir, 0o755)
	}

	fs.Data("/usr/lib/modules/list", nil, 0o644)

	images := map[string]string{"/usr/lib/modules": filepath.Join(m.out, "modules"), "/": filepath.Join(m.out, "root")}
	for place, fs := range map[string]*tree.Tree{"/usr/lib/modules": fs.Split("/usr/lib/modules"), "/": fs} {
		if err := image.Squashfs(t.Context(), fs, images[place], m.epoch, image.Fast); err != nil {
			t.Fatal(err)
		}
	}

	console := m.boot(t, images, "panic=1 custom=kept verbose")

	for _, want := range []string{
		`stub: args ["/usr/bin/init" "verbose"] custom "kept"`,
		"stub: write to the root: open /written: read-only file system",
		"stub: /dev/null: <nil>", "stub: /proc/1: <nil>", "stub: /sys/kernel: <nil>",
		"stub: /usr/lib/modules/list: <nil>",
		"/dev/loop0 / squashfs ro,nodev", "/dev/loop1 /usr/lib/modules squashfs ro,nodev", "stub: end",
	} {
		if !strings.Contains(console, want) {
			t.Errorf("the console has no %q", want)
		}
	}
}

func TestStage1SaysWhatIsWrongAndReboots(t *testing.T) {
	m := newMachine(t, "amd64")
	root := filepath.Join(m.out, "root")

	if err := os.WriteFile(root, bytes.Repeat([]byte("no squashfs "), 4096), 0o644); err != nil {
		t.Fatal(err)
	}

	console := m.boot(t, map[string]string{"/": root}, "panic=2")

	for _, want := range []string{
		"stage1: mount the images: mount /rootfs.sqsh from /dev/loop0 to /root: invalid argument", "stage1: rebooting in 2s",
	} {
		if !strings.Contains(console, want) {
			t.Errorf("the console has no %q", want)
		}
	}
}
