package mounts

import (
	"errors"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"github.com/dactyl-os/dactyl/services/init/internal/machine/guard"
	"github.com/dactyl-os/dactyl/services/kit/mountinfo"
)

// Current reads what is mounted now.
func Current() ([]mountinfo.Mount, error) {
	data, err := os.ReadFile(mountinfo.Path)
	if err != nil {
		return nil, fmt.Errorf("read mounts: %w", err)
	}

	return mountinfo.Parse(string(data)), nil
}

// Down writes everything to the disks and unmounts them, at the latest within limit. A file system that hangs keeps only
// its own goroutine; what is busy is made read-only, so that its journal is closed.
func Down(permit guard.Permit, limit time.Duration) error {
	if err := permit.Check(); err != nil {
		return fmt.Errorf("unmount: %w", err)
	}

	entries, err := Current()
	if err != nil {
		return err
	}

	deadline := time.Now().Add(limit)
	errs := []error{within(limit/2, "sync", func() error { unix.Sync(); return nil })}

	for _, target := range Plan(entries) {
		// Each of them gets its share of what is left, a hung one must not cost the others theirs.
		errs = append(errs, within(max(time.Until(deadline)/2, limit/20), "unmount "+target, func() error { return unmount(target) }))
	}

	return errors.Join(errs...)
}

func unmount(target string) error {
	err := unix.Unmount(target, unix.UMOUNT_NOFOLLOW)
	if !errors.Is(err, unix.EBUSY) {
		return err
	}

	return errors.Join(
		unix.Mount("", target, "", unix.MS_REMOUNT|unix.MS_RDONLY, ""),
		unix.Unmount(target, unix.MNT_DETACH|unix.UMOUNT_NOFOLLOW),
	)
}

// within gives up on work that takes too long; it then goes on by itself.
func within(limit time.Duration, what string, work func() error) error {
	done := make(chan error, 1)

	go func() { done <- work() }()

	select {
	case err := <-done:
		if err != nil {
			return fmt.Errorf("%s: %w", what, err)
		}

		return nil
	case <-time.After(limit):
		return fmt.Errorf("%s: hangs, left behind", what)
	}
}
