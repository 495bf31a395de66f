package process

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"github.com/dactyl-os/dactyl/services/init/internal/manifest"
)

// own makes the directories that are a daemon's alone: below the run directory one with its name, and what its manifest
// owns. Where others own something below, they may pass through.
func (r *Runner) own(m manifest.Manifest) error {
	var errs []error

	for _, dir := range r.owned(m) {
		mode := os.FileMode(0o700)
		if r.passedThrough(dir) {
			mode = 0o711
		}

		if err := give(dir, int(m.User), mode); err != nil {
			errs = append(errs, fmt.Errorf("make %s for %s: %w", dir, m.Name, err))
		}
	}

	for _, path := range r.below(m.Adopts) {
		if err := adopt(path, filepath.Join(r.root, m.Owns[0]), int(m.User)); err != nil {
			errs = append(errs, fmt.Errorf("move %s to %s: %w", path, m.Owns[0], err))
		}
	}

	return errors.Join(errs...)
}

// Mounted makes the daemons' directories on a file system that has just been mounted at target.
func (r *Runner) Mounted(target string) error {
	var errs []error

	for _, m := range r.manifests {
		if slices.ContainsFunc(m.Owns, func(dir string) bool { return dir == target || inside(dir, target) }) {
			errs = append(errs, r.own(m))
		}
	}

	return errors.Join(errs...)
}

func (r *Runner) owned(m manifest.Manifest) []string {
	return append(r.below(m.Owns), filepath.Join(r.runDir, m.Name))
}

// below puts the node's root before paths.
func (r *Runner) below(paths []string) []string {
	out := make([]string, 0, len(paths)+1)
	for _, path := range paths {
		out = append(out, filepath.Join(r.root, path))
	}

	return out
}

func (r *Runner) passedThrough(dir string) bool {
	return slices.ContainsFunc(r.manifests, func(m manifest.Manifest) bool {
		return slices.ContainsFunc(r.owned(m), func(other string) bool { return inside(other, dir) })
	})
}

func inside(path, dir string) bool { return strings.HasPrefix(path, strings.TrimSuffix(dir, "/")+"/") }

// give makes a directory for a user. One that was root's (the daemon ran as root before, or the file system is new) is given
// away with everything in it that is root's; the directory itself comes last, so that a give that was cut short is repeated.
func give(dir string, user int, mode os.FileMode) error {
	if err := os.MkdirAll(filepath.Dir(dir), 0o755); err != nil {
		return err
	}

	if err := os.Mkdir(dir, mode); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}

	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer root.Close()

	info, err := root.Lstat(".")
	if err != nil {
		return err
	}

	if os.Getuid() == 0 {
		if err := giveTree(root, user, owner(info) != user); err != nil {
			return err
		}
	}

	return root.Chmod(".", mode)
}

// giveTree follows no link out of the tree, and leaves what belongs to others or has a name elsewhere too. Unless the whole tree
// is new to the user it looks only for what root has put back by hand, which is at its top.
func giveTree(root *os.Root, user int, whole bool) error {
	err := fs.WalkDir(root.FS(), ".", func(path string, entry fs.DirEntry, err error) error {
		if err != nil || path == "." {
			return err
		}

		info, err := entry.Info()

		switch {
		case errors.Is(err, fs.ErrNotExist):
			return nil
		case err != nil:
			return err
		case owner(info) == 0 && (entry.IsDir() || names(info) == 1):
			return root.Lchown(path, user, user)
		case entry.IsDir() && (owner(info) != user || !whole):
			return fs.SkipDir
		default:
			return nil
		}
	})
	if err != nil || !whole {
		return err
	}

	return root.Chown(".", user, user)
}

// adopt gives a user's directory a file of an earlier version. It keeps its old name too, for that version to come back to.
func adopt(path, dir string, user int) error {
	info, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) || err == nil && !info.Mode().IsRegular() {
		return nil
	}

	adopted := filepath.Join(dir, filepath.Base(path))

	switch err = errors.Join(err, os.Link(path, adopted)); {
	case errors.Is(err, fs.ErrExist):
		return nil
	case err != nil || os.Getuid() != 0:
		return err
	}

	return os.Lchown(adopted, user, user)
}

func names(info fs.FileInfo) uint64 {
	if stat, ok := info.Sys().(*syscall.Stat_t); ok {
		return uint64(stat.Nlink) //nolint:unconvert // its type differs between architectures
	}

	return 1
}

func owner(info fs.FileInfo) int {
	if stat, ok := info.Sys().(*syscall.Stat_t); ok {
		return int(stat.Uid)
	}

	return 0
}
