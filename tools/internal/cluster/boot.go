package cluster

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/dactyl-os/dactyl/services/kit/version"
)

// bootOrder is what the supervisor tells the process that becomes the node's init.
type bootOrder struct {
	Root      string `json:"root"`
	State     string `json:"state"`
	Var       string `json:"var"`
	Binaries  string `json:"binaries"`
	Manifests string `json:"manifests"`
	Cmdline   string `json:"cmdline"`
	BootID    string `json:"bootID"`
}

// boot makes a node's root filesystem in the mount namespace that the process was cloned into, and becomes its init. It
// returns only when that fails.
func boot(order bootOrder, powered io.Reader) error {
	runtime.LockOSThread()

	// Nothing that is mounted from here on shows on the host.
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("leave the host's mounts: %w", err)
	}

	if err := unix.Unshare(unix.CLONE_NEWCGROUP); err != nil {
		return fmt.Errorf("make cgroup namespace: %w", err)
	}

	for _, step := range []struct {
		do   func(bootOrder) error
		what string
	}{
		{mountRoot, "mount root"}, {mountKernel, "mount kernel filesystems"}, {makeDevices, "make devices"},
		{fillEtc, "fill /etc"}, {enterRoot, "enter root"},
	} {
		if err := step.do(order); err != nil {
			return fmt.Errorf("%s: %w", step.what, err)
		}
	}

	if err := unix.Sethostname([]byte("localhost")); err != nil {
		return fmt.Errorf("reset hostname: %w", err)
	}

	// The supervisor plugs the cable in, then says go; it hangs up when it gives up.
	if _, err := bufio.NewReader(powered).ReadString('\n'); err != nil {
		return errors.New("the supervisor hung up")
	}

	if err := protectHost(); err != nil {
		return err
	}

	return fmt.Errorf("run init: %w", unix.Exec("/usr/bin/init", []string{"/usr/bin/init"}, []string{"PATH=/usr/bin", "HOME=/", "TERM=linux"}))
}

func mountRoot(o bootOrder) error {
	if err := unix.Mount("dactyl", o.Root, "tmpfs", unix.MS_NOSUID, "mode=0755,size=256m"); err != nil {
		return err
	}

	for _, dir := range []string{
		"proc", "sys", "dev", "run", "tmp", "var", "etc", "opt", "system", "usr/bin", "usr/share/dactyl/services", "usr/lib", "mnt",
	} {
		if err := os.MkdirAll(filepath.Join(o.Root, dir), 0o755); err != nil {
			return err
		}
	}

	for _, m := range []struct{ target, options string }{{"run", "mode=0755"}, {"tmp", "mode=1777"}, {"etc", "mode=0755"}, {"system", "mode=0755"}} {
		if err := unix.Mount("tmpfs", filepath.Join(o.Root, m.target), "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, m.options); err != nil {
			return fmt.Errorf("%s: %w", m.target, err)
		}
	}

	if err := os.Mkdir(filepath.Join(o.Root, "system/state"), 0o755); err != nil {
		return err
	}

	return errors.Join(
		bind(o.State, filepath.Join(o.Root, "system/state"), unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC),
		bind(o.Var, filepath.Join(o.Root, "var"), unix.MS_NOSUID|unix.MS_NODEV),
		bind(o.Binaries, filepath.Join(o.Root, "usr/bin"), unix.MS_RDONLY|unix.MS_NODEV),
		bind(o.Manifests, filepath.Join(o.Root, "usr/share/dactyl/services"), unix.MS_RDONLY|unix.MS_NODEV|unix.MS_NOEXEC),
	)
}

// bind shows source at target with the flags given.
func bind(source, target string, flags uintptr) error {
	if err := unix.Mount(source, target, "", unix.MS_BIND, ""); err != nil {
		return fmt.Errorf("bind %s: %w", target, err)
	}

	if err := unix.Mount("", target, "", unix.MS_BIND|unix.MS_REMOUNT|flags, ""); err != nil {
		return fmt.Errorf("bind %s: %w", target, err)
	}

	return nil
}

func mountKernel(o bootOrder) error {
	proc, sys := filepath.Join(o.Root, "proc"), filepath.Join(o.Root, "sys")
	const guarded = unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOEXEC

	if err := unix.Mount("proc", proc, "proc", guarded, ""); err != nil {
		return fmt.Errorf("proc: %w", err)
	}

	if err := unix.Mount("sysfs", sys, "sysfs", guarded|unix.MS_RDONLY, ""); err != nil {
		return fmt.Errorf("sysfs: %w", err)
	}

	if err := unix.Mount("cgroup2", filepath.Join(sys, "fs/cgroup"), "cgroup2", guarded, ""); err != nil {
		return fmt.Errorf("cgroup2: %w", err)
	}

	// What the host's kernel shares with all nodes can be looked at; only network settings are the node's own.
	settings := filepath.Join(proc, "sys")

	return errors.Join(
		unix.Mount(settings, settings, "", unix.MS_BIND|unix.MS_REC, ""),
		unix.Mount(filepath.Join(settings, "net"), filepath.Join(settings, "net"), "", unix.MS_BIND, ""),
		cover(o.Root, "proc/cmdline", o.Cmdline),
		cover(o.Root, "proc/sys/kernel/random/boot_id", o.BootID+"\n"),
		unix.Mount("", settings, "", unix.MS_BIND|unix.MS_REMOUNT|unix.MS_RDONLY|guarded, ""),
		hide(o.Root, "proc/sysrq-trigger"), hide(o.Root, "proc/kcore"),
	)
}

// hide shows nothing in place of a file that not every kernel has.
func hide(root, target string) error {
	if _, err := os.Stat(filepath.Join(root, target)); err != nil {
		return nil //nolint:nilerr // nothing to hide
	}

	return cover(root, target, "")
}

// cover shows text in place of a file. The file that holds it has no name afterwards.
func cover(root, target, text string) error {
	holder := filepath.Join(root, ".cover")
	if err := os.WriteFile(holder, []byte(text), 0o444); err != nil {
		return err
	}

	return errors.Join(bind(holder, filepath.Join(root, target), unix.MS_RDONLY|unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC), os.Remove(holder))
}

func makeDevices(o bootOrder) error {
	dev := filepath.Join(o.Root, "dev")
	if err := unix.Mount("dev", dev, "tmpfs", unix.MS_NOSUID|unix.MS_NOEXEC, "mode=0755"); err != nil {
		return err
	}

	old := unix.Umask(0)
	defer unix.Umask(old)

	for _, d := range []struct {
		name         string
		major, minor uint32
		mode         uint32
	}{
		{"null", 1, 3, 0o666}, {"zero", 1, 5, 0o666}, {"full", 1, 7, 0o666}, {"random", 1, 8, 0o666}, {"urandom", 1, 9, 0o666},
		{"kmsg", 1, 11, 0o644}, {"tty", 5, 0, 0o666},
	} {
		if err := unix.Mknod(filepath.Join(dev, d.name), unix.S_IFCHR|d.mode, int(unix.Mkdev(d.major, d.minor))); err != nil {
			return fmt.Errorf("%s: %w", d.name, err)
		}
	}

	return errors.Join(
		os.MkdirAll(filepath.Join(dev, "pts"), 0o755), os.MkdirAll(filepath.Join(dev, "shm"), 0o755),
		unix.Mount("devpts", filepath.Join(dev, "pts"), "devpts", unix.MS_NOSUID|unix.MS_NOEXEC, "newinstance,ptmxmode=0666,mode=0620"),
		unix.Mount("shm", filepath.Join(dev, "shm"), "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, "mode=1777"),
		os.Symlink("pts/ptmx", filepath.Join(dev, "ptmx")), os.Symlink("/proc/self/fd", filepath.Join(dev, "fd")),
		os.Symlink("/proc/self/fd/0", filepath.Join(dev, "stdin")), os.Symlink("/proc/self/fd/1", filepath.Join(dev, "stdout")),
		os.Symlink("/proc/self/fd/2", filepath.Join(dev, "stderr")),
	)
}

// fillEtc writes the files that an image has; certificates of public authorities come from the host, if it has any.
func fillEtc(o bootOrder) error {
	etc := filepath.Join(o.Root, "etc")

	for name, text := range map[string]string{
		"os-release":    osRelease(),
		"passwd":        "root:x:0:0:root:/:/sbin/nologin\ndactyl:x:50:50:gateway:/:/sbin/nologin\n",
		"group":         "root:x:0:\ndactyl:x:50:\n",
		"nsswitch.conf": "hosts: files dns\n",
	} {
		if err := os.WriteFile(filepath.Join(etc, name), []byte(text), 0o644); err != nil {
			return err
		}
	}

	certificates, err := os.ReadFile("/etc/ssl/certs/ca-certificates.crt")
	if err != nil {
		return nil //nolint:nilerr // a host without them has nothing to give
	}

	dir := filepath.Join(etc, "ssl/certs")

	return errors.Join(os.MkdirAll(dir, 0o755), os.WriteFile(filepath.Join(dir, "ca-certificates.crt"), certificates, 0o644))
}

// osRelease is what an image's /etc/os-release says (rootfs/tree.yaml), with this build's version.
func osRelease() string {
	return fmt.Sprintf(`NAME="%s"
ID=dactyl
VERSION="%s"
VERSION_ID=%s
PRETTY_NAME="%[1]s (%[2]s)"
BUILD_ID=%[4]s
HOME_URL="https://github.com/dactyl-os/dactyl"
BUG_REPORT_URL="https://github.com/dactyl-os/dactyl/issues"
`, version.Name, version.Tag, version.Plain(), version.SHA)
}

// enterRoot makes the node's root the only filesystem there is.
func enterRoot(o bootOrder) error {
	if err := os.Chdir(o.Root); err != nil {
		return err
	}

	if err := unix.PivotRoot(".", "."); err != nil {
		return fmt.Errorf("pivot: %w", err)
	}

	if err := unix.Unmount(".", unix.MNT_DETACH); err != nil {
		return fmt.Errorf("leave the host's root: %w", err)
	}

	if err := os.Chdir("/"); err != nil {
		return err
	}

	return unix.Mount("", "/", "", unix.MS_BIND|unix.MS_REMOUNT|unix.MS_RDONLY|unix.MS_NOSUID, "")
}

// protectHost drops what would reach through the node's namespaces: kernel modules, the clock, raw hardware, reboot.
func protectHost() error {
	for _, number := range []uintptr{unix.CAP_SYS_MODULE, unix.CAP_SYS_TIME, unix.CAP_SYS_RAWIO, unix.CAP_SYS_BOOT, unix.CAP_MAC_ADMIN, unix.CAP_MAC_OVERRIDE} {
		if err := unix.Prctl(unix.PR_CAPBSET_DROP, number, 0, 0, 0); err != nil && !errors.Is(err, unix.EINVAL) {
			return fmt.Errorf("drop capability %d: %w", number, err)
		}
	}

	return nil
}

// newBootID is a random UUID as the kernel makes one at each boot.
func newBootID() (string, error) {
	id, err := os.ReadFile("/proc/sys/kernel/random/uuid")

	return strings.TrimSpace(string(id)), err
}
