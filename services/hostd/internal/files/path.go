// Package files looks at the node's file system: lists, sizes, contents, archives. Nothing here writes.
package files

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// Root is the directory that callers see as "/".
type Root string

// Resolve gives the path on this machine of an absolute path on the node. ".." cannot leave the root; symbolic links are
// followed by whoever opens it, as in any system.
func (r Root) Resolve(path string) (string, error) {
	if strings.ContainsRune(path, 0) {
		return "", fmt.Errorf("path %q has a NUL in it", path)
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

// start is what a walk begins at: a symbolic link at its very start is followed, as `ls` and `du` do with an argument.
func start(path string) (string, os.FileInfo, error) {
	info, err := os.Lstat(path)
	if err != nil || info.Mode()&os.ModeSymlink == 0 {
		return path, info, err
	}

	target, err := filepath.EvalSymlinks(path)
	if err != nil {
		return path, nil, err
	}

	info, err = os.Lstat(target)

	return target, info, err
}
