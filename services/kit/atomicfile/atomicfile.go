// Package atomicfile replaces files so that a power cut leaves the old or the new contents, never a torn mix.
package atomicfile

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// Write puts data at path: a temporary file beside it is written and synced, renamed over path, and the directory synced.
// The parent directory must exist. A crash may leave a file .NAME.tmp-* behind: Clean removes those at the next start.
func Write(path string, data []byte, mode os.FileMode) (err error) {
	dir, name := filepath.Split(path)
	if dir == "" {
		dir = "."
	}

	f, err := os.CreateTemp(dir, "."+name+".tmp-*")
	if err != nil {
		return fmt.Errorf("create temporary file: %w", err)
	}

	defer func() {
		if err != nil {
			f.Close()
			os.Remove(f.Name())
		}
	}()

	if err = fill(f, data, mode); err != nil {
		return fmt.Errorf("write %s: %w", f.Name(), err)
	}

	if err = os.Rename(f.Name(), path); err != nil {
		return fmt.Errorf("replace file: %w", err)
	}

	return SyncDir(dir)
}

// SyncDir makes renames and removals in dir durable.
func SyncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return fmt.Errorf("open directory: %w", err)
	}
	defer d.Close()

	if err = d.Sync(); err != nil {
		return fmt.Errorf("sync directory %s: %w", dir, err)
	}

	return nil
}

func fill(f *os.File, data []byte, mode os.FileMode) error {
	if _, err := f.Write(data); err != nil {
		return err
	}

	if err := f.Chmod(mode); err != nil {
		return err
	}

	if err := f.Sync(); err != nil {
		return err
	}

	return f.Close()
}

// Clean removes what a Write of path that was cut short left behind. Call it at start, before the first Write.
func Clean(path string) error {
	dir, name := filepath.Split(path)

	stale, err := filepath.Glob(filepath.Join(dir, "."+name+".tmp-*"))
	if err != nil {
		return fmt.Errorf("find leftovers of %s: %w", path, err)
	}

	for _, leftover := range stale {
		if err := os.Remove(leftover); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}

	return nil
}
