// Package files looks at the node's file system: lists, sizes, contents, archives. Nothing here writes.
package files

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// ErrPath is given for what cannot be a path.
var ErrPath = errors.New("no path can be like that")

// Root is the directory that callers see as "/".
type Root string

// Resolve gives the path on this machine of an absolute path on the node, links as they are. ".." cannot leave the root.
func (r Root) Resolve(path string) (string, error) {
	if strings.ContainsRune(path, 0) {
		return "", fmt.Errorf("%w: %q has a NUL in it", ErrPath, path)
	}

	return filepath.Join(string(r), filepath.Clean("/"+path)), nil
}

// Show is the path as the caller knows it.
func (r Root) Show(path string) string {
	rel, err := filepath.Rel(string(r), path)
	if err != nil || rel == "." {
		return "/"
	}

	return "/" + rel
}

// find opens what a path below the root leads to, without touching it: links, absolute ones too, lead to places inside the
// root and nowhere else, whatever is moved meanwhile.
func (r Root) find(path string) (*os.File, error) {
	top, err := unix.Open(string(r), unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: path, Err: err}
	}
	defer unix.Close(top)

	how := unix.OpenHow{Flags: unix.O_PATH | unix.O_CLOEXEC}
	if filepath.Clean(string(r)) != "/" {
		how.Resolve = unix.RESOLVE_IN_ROOT // also refuses the links of /proc/PID, which only the machine's own root has
	}

	fd, err := unix.Openat2(top, "."+r.Show(path), &how)
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: path, Err: err}
	}

	return os.NewFile(uintptr(fd), path), nil
}

// again opens what was found to read it, and nothing else that may be at its path by now. Nobody is waited for.
func again(found *os.File) (*os.File, error) {
	name := "/proc/self/fd/" + strconv.Itoa(int(found.Fd()))

	fd, err := unix.Open(name, unix.O_RDONLY|unix.O_NONBLOCK|unix.O_NOCTTY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: found.Name(), Err: err}
	}

	return os.NewFile(uintptr(fd), found.Name()), nil
}

// readDir lists a directory below the root, by name.
func (r Root) readDir(path string) ([]os.DirEntry, error) {
	found, err := r.find(path)
	if err != nil {
		return nil, err
	}
	defer found.Close()

	dir, err := again(found)
	if err != nil {
		return nil, err
	}
	defer dir.Close()

	entries, err := dir.ReadDir(-1)
	slices.SortFunc(entries, func(a, b os.DirEntry) int { return strings.Compare(a.Name(), b.Name()) })

	return entries, err
}

// start is what a walk begins at, as the caller asked for it and where it is: a symbolic link at its very start is followed, as
// `ls` and `du` do with an argument.
func (r Root) start(path string) (asked, begin string, info os.FileInfo, err error) {
	if asked, err = r.Resolve(path); err != nil {
		return "", "", nil, err
	}

	found, err := r.find(asked)
	if err != nil {
		return "", "", nil, err
	}
	defer found.Close()

	// The kernel knows the place without any link.
	if begin, err = os.Readlink("/proc/self/fd/" + strconv.Itoa(int(found.Fd()))); err != nil {
		return "", "", nil, err
	}

	info, err = os.Lstat(begin)

	return asked, begin, info, err
}

// onKernel tells whether a file is the kernel's own: its size says nothing about its content.
func onKernel(file *os.File) bool {
	var stat unix.Statfs_t
	if err := unix.Fstatfs(int(file.Fd()), &stat); err != nil {
		return false
	}

	switch stat.Type {
	case unix.PROC_SUPER_MAGIC, unix.SYSFS_MAGIC, unix.CGROUP2_SUPER_MAGIC, unix.CGROUP_SUPER_MAGIC, unix.DEBUGFS_MAGIC,
		unix.TRACEFS_MAGIC, unix.SECURITYFS_MAGIC:
		return true
	default:
		return false
	}
}
