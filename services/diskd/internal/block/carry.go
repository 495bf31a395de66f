package block

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/dactyl-os/dactyl/services/kit/atomicfile"
)

// carry copies what daemons wrote to a target's directory, while there was no disk for it, to the new filesystem that is
// about to be mounted over it. A filesystem that holds something is left as it is.
func (s *System) carry(path, target, fstype string) (err error) {
	source := filepath.Join(s.Root, target)

	written, err := os.ReadDir(source)
	if err != nil || len(written) == 0 {
		return nil //nolint:nilerr // nothing is there
	}

	const staging = "/run/dactyl/staging"
	if err := s.Mount(path, staging, fstype, []string{"nosuid", "nodev", "noexec"}); err != nil {
		return err
	}

	defer func() { err = errors.Join(err, s.Unmount(staging)) }()

	there, err := os.ReadDir(s.Path(staging))
	if err != nil || len(there) > 1 || len(there) == 1 && there[0].Name() != "lost+found" {
		return err
	}

	if err := copyTree(source, s.Path(staging)); err != nil {
		return fmt.Errorf("carry over %s: %w", source, err)
	}

	return nil
}

// copyTree copies directories and plain files with their modes and owners.
func copyTree(from, to string) error {
	return filepath.WalkDir(from, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}

		rel, err := filepath.Rel(from, path)
		if err != nil {
			return err
		}

		info, err := entry.Info()
		if err != nil {
			return err
		}

		target := filepath.Join(to, rel)

		switch {
		case entry.IsDir():
			if err := os.MkdirAll(target, 0o700); err != nil {
				return err
			}
		case info.Mode().IsRegular():
			if err := copyFile(path, target); err != nil {
				return err
			}
		default:
			return nil
		}

		if stat, ok := info.Sys().(*syscall.Stat_t); ok {
			if err := unix.Lchown(target, int(stat.Uid), int(stat.Gid)); err != nil {
				return err
			}
		}

		return os.Chmod(target, info.Mode().Perm())
	})
}

func copyFile(from, to string) error {
	data, err := os.ReadFile(from)
	if err != nil {
		return err
	}

	// A power cut leaves the whole file or none: half an identity would keep its daemon from starting for ever.
	return atomicfile.Write(to, data, 0o600)
}
