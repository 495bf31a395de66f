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
func Write(path string, data []byte, mode os.FileMode) error {
	next, err := prepare(path, data, mode)
	if err != nil {
		return err
	}

	if err := replace(next, path); err != nil {
		return err
	}

	return SyncDir(filepath.Dir(path))
}

// prepare writes and syncs a temporary file beside path.
func prepare(path string, data []byte, mode os.FileMode) (temporary string, err error) {
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".tmp-*")
	if err != nil {
		return "", fmt.Errorf("create temporary file: %w", err)
	}

	if err := fill(f, data, mode); err != nil {
		f.Close()
		os.Remove(f.Name())

		return "", fmt.Errorf("write %s: %w", f.Name(), err)
	}

	return f.Name(), nil
}

// replace puts a prepared file in place of path; it lasts once the directory is synced.
func replace(temporary, path string) error {
	if err := os.Rename(temporary, path); err != nil {
		os.Remove(temporary)

		return fmt.Errorf("replace file: %w", err)
	}

	return nil
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
