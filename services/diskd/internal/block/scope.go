// Package block is the one package of diskd that touches disks and mounts: it looks at them and takes the plan's steps.
package block

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
)

// ErrNotOurs tells that a device is not this daemon's to look at or to write to.
var ErrNotOurs = errors.New("not a disk of this machine's")

// Scope says which disks are the daemon's. The zero Scope has none.
type Scope struct {
	allow []string
	all   bool
}

// Machine is the scope of a daemon that runs the machine: every disk.
func Machine() Scope { return Scope{all: true} }

// Only is a scope of some disks: /dev/loop3. Everywhere but on a machine of its own a daemon has to be told each disk.
func Only(paths ...string) Scope {
	var s Scope

	for _, p := range paths {
		if p = strings.TrimSpace(p); p != "" {
			s.allow = append(s.allow, filepath.Base(p))
		}
	}

	return s
}

// Has tells whether a disk, by its name, is within the scope.
func (s Scope) Has(name string) bool { return s.all || slices.Contains(s.allow, name) }

// Empty tells that no disk is.
func (s Scope) Empty() bool { return !s.all && len(s.allow) == 0 }

// guard refuses a path that is not below /dev, or not a disk or partition within the scope.
func (s *System) guard(path string) error {
	name := filepath.Base(path)

	if filepath.Join(s.Dev, name) == path && s.Scope.Has(s.wholeDisk(name)) {
		return nil
	}

	return fmt.Errorf("%s: %w", path, ErrNotOurs)
}

// wholeDisk gives the name of a partition's disk as the kernel knows it; a disk's own name otherwise.
func (s *System) wholeDisk(name string) string {
	target, err := filepath.EvalSymlinks(filepath.Join(s.Sys, "class", "block", name))
	if err != nil || !exists(filepath.Join(target, "partition")) {
		return name
	}

	return filepath.Base(filepath.Dir(target))
}
