package mounts

import (
	"slices"
	"strings"
)

// Entry is one line of mountinfo, see proc_pid_mountinfo(5).
type Entry struct {
	Target, Type, Source string
	ReadOnly             bool
}

// Parse reads mountinfo. Lines that make no sense are left out.
func Parse(text string) []Entry {
	var entries []Entry

	for line := range strings.Lines(text) {
		before, after, found := strings.Cut(line, " - ")
		left, right := strings.Fields(before), strings.Fields(after)

		if !found || len(left) < 6 || len(right) < 2 {
			continue
		}

		entries = append(entries, Entry{
			Target: unescape(left[4]), Type: right[0], Source: unescape(right[1]),
			ReadOnly: slices.Contains(strings.Split(left[5], ","), "ro"),
		})
	}

	return entries
}

// unescape undoes the octal escapes of blanks and backslashes.
func unescape(path string) string {
	return strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`).Replace(path)
}

// volatile file systems lose nothing when the machine goes down.
func volatile() []string {
	return []string{
		"proc", "sysfs", "devtmpfs", "devpts", "tmpfs", "ramfs", "rootfs", "cgroup2", "securityfs", "bpf", "pstore", "efivarfs",
		"debugfs", "tracefs", "squashfs", "erofs", "mqueue", "hugetlbfs", "nsfs", "overlay", "configfs", "fusectl", "binfmt_misc",
	}
}

// Plan gives what is to be unmounted, the last mounted first. The root stays: init runs from it.
func Plan(entries []Entry) []string {
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
func coversPersistent(entries []Entry, target string) bool {
	return slices.ContainsFunc(entries, func(e Entry) bool {
		return e.Target != "/" && e.Target != target && strings.HasPrefix(target, e.Target+"/") && !slices.Contains(volatile(), e.Type)
	})
}

// On tells whether a persistent file system is mounted at target.
func On(entries []Entry, target string) bool {
	on := false

	for _, e := range entries {
		if e.Target == target {
			on = !slices.Contains(volatile(), e.Type)
		}
	}

	return on
}
