// Package blocktest gives tests disks that are files, and mounts that nobody else sees.
package blocktest

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"

	"github.com/dactyl-os/dactyl/services/kit/kittest"
)

// hostMounts tells the tests which mount namespace they must not be in.
const hostMounts = "DACTYL_TEST_HOST_MOUNTS"

// Main runs a package's tests in a mount namespace of their own, by starting the test program again in one: every thread
// and every child is in it, and what they mount goes with the last of them. It returns the exit code.
func Main(m *testing.M) int {
	if os.Geteuid() != 0 || os.Getenv(hostMounts) != "" {
		return m.Run()
	}

	host, err := os.Readlink("/proc/self/ns/mnt")
	if err != nil {
		panic(err)
	}

	// Go makes the new namespace's mounts private before the program starts.
	cmd := exec.Command("/proc/self/exe", os.Args[1:]...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.Env = append(os.Environ(), hostMounts+"="+host)
	cmd.SysProcAttr = &syscall.SysProcAttr{Unshareflags: syscall.CLONE_NEWNS, Pdeathsig: syscall.SIGKILL}

	runtime.LockOSThread() // Pdeathsig follows the thread

	var exit *exec.ExitError

	switch err := cmd.Run(); {
	case errors.As(err, &exit):
		return exit.ExitCode()
	case err != nil:
		panic(err)
	default:
		return 0
	}
}

// PrivateMounts fails a test that would mount on the host's namespace.
func PrivateMounts(t testing.TB) {
	t.Helper()
	kittest.RequireRoot(t)

	now, err := os.Readlink("/proc/self/ns/mnt")
	if host := os.Getenv(hostMounts); err != nil || host == "" || host == now {
		t.Fatalf("not in a mount namespace of its own (%q, host %q): TestMain has to call blocktest.Main", now, host)
	}
}

// Disk is a loop device over a sparse file.
type Disk struct{ Path, File string }

// NewDisk makes a disk of size bytes; it goes away with the test.
func NewDisk(t testing.TB, size int64) *Disk {
	t.Helper()
	kittest.RequireRoot(t)

	d := &Disk{File: filepath.Join(t.TempDir(), "disk")}

	f, err := os.Create(d.File)
	if err == nil {
		err = f.Truncate(size)
	}

	if err != nil {
		t.Fatal(err)
	}

	f.Close() // nothing is buffered
	d.Attach(t)
	t.Cleanup(func() { exec.Command("losetup", "-d", d.Path).Run() }) //nolint:errcheck // it may be detached already

	return d
}

// Attach gives the file a loop device, as plugging a disk in does.
func (d *Disk) Attach(t testing.TB) {
	t.Helper()

	d.Path = strings.TrimSpace(Run(t, "losetup", "--find", "--show", "--partscan", d.File))
	if !strings.HasPrefix(d.Path, "/dev/loop") {
		t.Fatalf("%q is no loop device", d.Path)
	}
}

// Grow makes the disk larger.
func (d *Disk) Grow(t testing.TB, size int64) {
	t.Helper()

	if err := os.Truncate(d.File, size); err != nil {
		t.Fatal(err)
	}

	Run(t, "losetup", "--set-capacity", d.Path)
}

// Run gives what a program prints; the test fails with it when the program does.
func Run(t testing.TB, name string, args ...string) string {
	t.Helper()

	out, err := exec.Command(name, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}

	return string(out)
}
