// Package cgroup finds processes in the cgroup v2 tree, see cgroups(7). Who is where is all that is asked of the tree: it needs
// no controllers, so it serves beside a v1 hierarchy too.
package cgroup

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/dactyl-os/dactyl/services/kit/mountinfo"
)

// Root is the group beside those of a node's daemons in which root's own tools are. Only root can move a process there.
const Root = "root"

// Foreign ends the names of groups of programs that are no daemons of ours, and of all that such a program starts: to us they
// are nobody.
const Foreign = ".unit"

// Of gives the place of a process in the tree, as the caller's cgroup namespace shows it: "/networkd". process is a PID or
// "self".
func Of(process string) (string, error) {
	data, err := os.ReadFile(filepath.Join("/proc", process, "cgroup"))
	if err != nil {
		return "", err
	}

	for line := range strings.Lines(string(data)) {
		if place, found := strings.CutPrefix(line, "0::"); found {
			return strings.TrimSuffix(place, "\n"), nil
		}
	}

	return "", fmt.Errorf("process %s is in no cgroup v2 tree: none was ever mounted, mount -t cgroup2 does it", process)
}

// Dir gives the directory of a place.
func Dir(place string) (string, error) {
	data, err := os.ReadFile(mountinfo.Path)
	if err != nil {
		return "", err
	}

	return dirIn(mountinfo.Parse(string(data)), place)
}

func dirIn(mounts []mountinfo.Mount, place string) (string, error) {
	for _, m := range mounts {
		if m.Type != "cgroup2" || strings.HasPrefix(m.Root, "/..") {
			continue
		}

		if below, err := filepath.Rel(m.Root, place); err == nil && below != ".." && !strings.HasPrefix(below, "../") {
			return filepath.Join(m.Target, below), nil
		}
	}

	return "", fmt.Errorf("no mount shows %s of the cgroup v2 tree: mount -t cgroup2 makes one", place)
}

// Child is the part of place directly below parent, the name of a daemon; "" when it is not below, or is
// none of ours.
func Child(parent, place string) string {
	below, found := strings.CutPrefix(place, strings.TrimSuffix(parent, "/")+"/")
	name, _, _ := strings.Cut(below, "/")

	if !found || name == ".." || strings.HasSuffix(name, Foreign) {
		return ""
	}

	return name
}

// Make makes a group and opens it as clone3 takes it.
func Make(dir string) (*os.File, error) {
	if err := os.Mkdir(dir, 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
		return nil, fmt.Errorf("make cgroup: %w", err)
	}

	return os.Open(dir)
}

// Remove removes a group and those below it, from the leaves up. A group with processes in it stays, and is an error.
func Remove(dir string) error {
	var dirs []string

	_ = filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err == nil && entry.IsDir() {
			dirs = append(dirs, path)
		}

		return nil
	})

	for _, path := range slices.Backward(dirs) {
		if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}

	return nil
}

// Enter moves the calling process into a group; children that it makes from then on are in it too.
func Enter(dir string) error {
	if err := os.WriteFile(filepath.Join(dir, "cgroup.procs"), []byte("0"), 0); err != nil {
		return fmt.Errorf("enter cgroup: %w", err)
	}

	return nil
}
