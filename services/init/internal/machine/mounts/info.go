package mounts

import (
	"slices"
	"strings"

	"github.com/dactyl-os/dactyl/services/kit/mountinfo"
)

// volatile file systems lose nothing when the machine goes down.
func volatile() []string {
	return []string{
		"proc", "sysfs", "devtmpfs", "devpts", "tmpfs", "ramfs", "rootfs", "cgroup2", "securityfs", "bpf", "pstore", "efivarfs",
		"debugfs", "tracefs", "squashfs", "erofs", "mqueue", "hugetlbfs", "nsfs", "overlay", "configfs", "fusectl", "binfmt_misc",
	}
}

// Plan gives what is to be unmounted, the last mounted first. The root stays: init runs from it.
func Plan(entries []mountinfo.Mount) []string {
	var targets []string

	for _, e := range slices.Backward(entries) {
		if e.Target == "/" || slices.Contains(volatile(), e.Type) && !coversPersistent(entries, e.Target) {
			continue
		}

		targets = append(targets, e.Target)
	}

	return targets
}

// coversPersistent tells whether something mounted below or right at target keeps a disk busy.
func coversPersistent(entries []mountinfo.Mount, target string) bool {
	return slices.ContainsFunc(entries, func(e mountinfo.Mount) bool {
		return e.Target != "/" && e.Target != target && strings.HasPrefix(target, e.Target+"/") && !slices.Contains(volatile(), e.Type)
	})
}

// On tells whether a persistent file system is mounted at target.
func On(entries []mountinfo.Mount, target string) bool {
	on := false

	for _, e := range entries {
		if e.Target == target {
			on = !slices.Contains(volatile(), e.Type)
		}
	}

	return on
}
