package cluster

import (
	"bufio"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// cgroupRoot finds the host's cgroup v2 tree; "" when there is none: nodes run without.
func cgroupRoot() string {
	f, err := os.Open("/proc/self/mounts")
	if err != nil {
		return ""
	}
	defer f.Close()

	for scanner := bufio.NewScanner(f); scanner.Scan(); {
		if fields := strings.Fields(scanner.Text()); len(fields) > 2 && fields[2] == "cgroup2" {
			return fields[1]
		}
	}

	return ""
}

// cgroup is the node's group; all its processes stay below it.
func (m *Machine) cgroup() string {
	root := cgroupRoot()
	if root == "" {
		return ""
	}

	return filepath.Join(root, m.cluster.Bridge, m.Name)
}

// openCgroup makes the node's group; nil when the host has no cgroup v2 tree that may be written.
func (m *Machine) openCgroup() *os.File {
	dir := m.cgroup()
	if dir == "" || os.MkdirAll(dir, 0o755) != nil {
		return nil
	}

	f, err := os.Open(dir)
	if err != nil {
		return nil
	}

	return f
}

// emptyCgroup kills what is left of the node and removes its group.
func (m *Machine) emptyCgroup(limit time.Duration) error {
	dir := m.cgroup()
	if _, err := os.Stat(dir); dir == "" || errors.Is(err, fs.ErrNotExist) {
		return nil
	}

	_ = os.WriteFile(filepath.Join(dir, "cgroup.kill"), []byte("1"), 0)

	for deadline := time.Now().Add(limit); ; time.Sleep(5 * time.Millisecond) {
		err := removeTree(dir)
		if err == nil {
			_ = os.Remove(filepath.Dir(dir)) // the cluster's, once its last node is gone

			return nil
		}

		if time.Now().After(deadline) {
			return fmt.Errorf("empty cgroup: %w", err)
		}
	}
}

// removeTree removes groups from the leaves up; their files go with them.
func removeTree(dir string) error {
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
