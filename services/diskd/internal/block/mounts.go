package block

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/dactyl-os/dactyl/services/diskd/internal/disk"
	"github.com/dactyl-os/dactyl/services/kit/mountinfo"
)

// mounts gives the mount of each device, by its number; the first where a device is mounted more than once.
func (s *System) mounts() (map[string]mountinfo.Mount, error) {
	data, err := os.ReadFile(s.Mountinfo)
	if err != nil {
		return nil, fmt.Errorf("read mounts: %w", err)
	}

	out := map[string]mountinfo.Mount{}

	for _, m := range mountinfo.Parse(string(data)) {
		if _, seen := out[m.Dev]; !seen {
			out[m.Dev] = m
		}
	}

	return out, nil
}

// MountsOver gives the targets of every mount of some partitions, and of what is mounted below those: the last mounted first,
// as they can be unmounted.
func (s *System) MountsOver(parts []disk.Part) ([]string, error) {
	data, err := os.ReadFile(s.Mountinfo)
	if err != nil {
		return nil, fmt.Errorf("read mounts: %w", err)
	}

	return mountsOver(mountinfo.Parse(string(data)), parts), nil
}

func mountsOver(all []mountinfo.Mount, parts []disk.Part) []string {
	var out []string

	for _, m := range all {
		ours := slices.ContainsFunc(parts, func(p disk.Part) bool { return devno(p.Major, p.Minor) == m.Dev })
		below := slices.ContainsFunc(out, func(target string) bool { return strings.HasPrefix(m.Target, target+"/") })

		if ours || below {
			out = append(out, m.Target)
		}
	}

	slices.Reverse(out)

	return out
}

// MountOf tells how a device is mounted; false when it is not.
func (s *System) MountOf(major, minor int) (mountinfo.Mount, bool) {
	all, err := s.mounts()
	m, ok := all[devno(major, minor)]

	return m, ok && err == nil
}

// Mount mounts a filesystem of a disk within the scope.
func (s *System) Mount(path, target, fstype string, options []string) error {
	if err := s.guard(path); err != nil {
		return err
	}

	target = filepath.Join(s.Root, target)
	if err := os.MkdirAll(target, 0o755); err != nil {
		return err
	}

	var (
		flags uintptr = unix.MS_RELATIME
		data  []string
	)

	for _, option := range options {
		switch option {
		case "nosuid":
			flags |= unix.MS_NOSUID
		case "nodev":
			flags |= unix.MS_NODEV
		case "noexec":
			flags |= unix.MS_NOEXEC
		case "ro":
			flags |= unix.MS_RDONLY
		default:
			data = append(data, option)
		}
	}

	if err := unix.Mount(path, target, fstype, flags, strings.Join(data, ",")); err != nil {
		return fmt.Errorf("mount %s at %s: %w", path, target, err)
	}

	return nil
}

// Unmount takes a mount away; what is not mounted is fine.
func (s *System) Unmount(target string) error {
	err := unix.Unmount(filepath.Join(s.Root, target), 0)
	if errors.Is(err, unix.EINVAL) || errors.Is(err, unix.ENOENT) {
		return nil
	}

	return err
}

// UnmountAt takes away a mount that mountinfo tells of.
func (s *System) UnmountAt(target string) error { return unix.Unmount(target, 0) }

// Path is where a target is in the daemon's own view.
func (s *System) Path(target string) string { return filepath.Join(s.Root, target) }
