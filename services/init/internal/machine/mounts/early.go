// Package mounts prepares a machine's file systems at boot and takes them away before it goes down. Without a permit it
// does nothing.
package mounts

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/dactyl-os/dactyl/services/init/internal/machine/guard"
)

const (
	strict = unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOEXEC
	// place for what is written before a disk is there.
	scratch = unix.MS_NOSUID | unix.MS_NODEV
)

// mount is one file system of the machine.
type mount struct {
	Type, Target, Options string
	Flags                 uintptr
	// Optional file systems are missing from some kernels and machines.
	Optional bool
	// WhenReadOnly mounts only over a directory that cannot be written to.
	WhenReadOnly bool
	// Keep copies the files below into the new file system: the image's own part of /etc.
	Keep bool
}

// table is every file system from before the disks, in order. EPHEMERAL and STATE come over /var and /system/state later.
func table(debug bool) []mount {
	list := []mount{
		{Type: "proc", Target: "/proc", Flags: strict},
		{Type: "sysfs", Target: "/sys", Flags: strict},
		{Type: "devtmpfs", Target: "/dev", Flags: unix.MS_NOSUID, Options: "mode=0755"},
		{Type: "devpts", Target: "/dev/pts", Flags: unix.MS_NOSUID | unix.MS_NOEXEC, Options: "mode=0620,gid=5,ptmxmode=0666"},
		{Type: "tmpfs", Target: "/dev/shm", Flags: strict, Options: "mode=1777"},
		{Type: "tmpfs", Target: "/run", Flags: scratch, Options: "mode=0755"},
		{Type: "tmpfs", Target: "/tmp", Flags: scratch, Options: "mode=1777,size=64m"},
		{Type: "tmpfs", Target: "/system", Flags: scratch, Options: "mode=0755", WhenReadOnly: true},
		{Type: "tmpfs", Target: "/var", Flags: scratch, Options: "mode=0755", WhenReadOnly: true},
		{Type: "tmpfs", Target: "/etc", Flags: strict, Options: "mode=0755", WhenReadOnly: true, Keep: true},
		{Type: "cgroup2", Target: "/sys/fs/cgroup", Flags: strict, Options: "nsdelegate,memory_recursiveprot"},
		{Type: "securityfs", Target: "/sys/kernel/security", Flags: strict, Optional: true},
		{Type: "bpf", Target: "/sys/fs/bpf", Flags: strict, Options: "mode=0700", Optional: true},
		{Type: "pstore", Target: "/sys/fs/pstore", Flags: strict, Optional: true},
		{Type: "efivarfs", Target: "/sys/firmware/efi/efivars", Flags: strict, Optional: true},
	}

	if debug {
		list = append(list, mount{Type: "debugfs", Target: "/sys/kernel/debug", Flags: strict, Options: "mode=0700", Optional: true})
	}

	return list
}

// PrepareVar makes what programs expect below /var, on scratch memory and again on the disk.
func PrepareVar(permit guard.Permit) error {
	if err := permit.Check(); err != nil {
		return fmt.Errorf("prepare /var: %w", err)
	}

	errs := []error{os.MkdirAll("/var/log", 0o755), os.MkdirAll("/var/lib", 0o755), os.MkdirAll("/var/mnt", 0o755)}

	if err := os.Symlink("/run", "/var/run"); !errors.Is(err, os.ErrExist) {
		errs = append(errs, err)
	}

	return errors.Join(errs...)
}

// Early mounts what is not there yet. The error names everything that failed; only /run and /var are worth stopping for,
// and those show by themselves.
func Early(permit guard.Permit, debug bool) error {
	if err := permit.Check(); err != nil {
		return fmt.Errorf("mount: %w", err)
	}

	var errs []error

	for _, m := range table(debug) {
		if err := m.apply(); err != nil && !m.Optional {
			errs = append(errs, fmt.Errorf("mount %s: %w", m.Target, err))
		}
	}

	errs = append(errs, os.MkdirAll("/system/state", 0o755), os.MkdirAll("/run/dactyl", 0o755), PrepareVar(permit))

	return errors.Join(errs...)
}

func (m mount) apply() error {
	if mounted(m.Target) {
		return nil
	}

	if m.WhenReadOnly && unix.Access(m.Target, unix.W_OK) == nil {
		return nil
	}

	// On a read-only root the directory is there or never will be.
	if err := os.Mkdir(m.Target, 0o755); err != nil && !errors.Is(err, os.ErrExist) {
		return err
	}

	if !m.Keep {
		return unix.Mount(m.Type, m.Target, m.Type, m.Flags, m.Options)
	}

	// The copy is complete before anything can see it.
	staging := filepath.Join("/run", "staging"+m.Target)

	return errors.Join(
		os.MkdirAll(staging, 0o755),
		unix.Mount(m.Type, staging, m.Type, m.Flags, m.Options),
		os.CopyFS(staging, os.DirFS(m.Target)),
		unix.Mount(staging, m.Target, "", unix.MS_MOVE, ""),
		os.RemoveAll(filepath.Join("/run", "staging")),
	)
}

// mounted tells whether something is mounted right there: its device differs from that of the directory above.
func mounted(target string) bool {
	var here, above unix.Stat_t

	return unix.Lstat(target, &here) == nil && unix.Lstat(filepath.Dir(target), &above) == nil && here.Dev != above.Dev
}
