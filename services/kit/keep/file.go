// Package keep is what a daemon keeps in the run directory over its own restart, not over the node's: a value, or resources. So it
// goes on where it was. What it cannot read, written by another version, counts as none.
package keep

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"reflect"
)

// File is a value with its place on disk. One goroutine at a time.
type File[T any] struct {
	Value T

	path   string
	format int
	saved  T
}

type envelope[T any] struct {
	Format int `json:"format"`
	Value  T   `json:"value"`
}

// Open reads the file at path, below the run directory. format changes when a reader would misunderstand what an older or newer
// daemon wrote. A file that cannot be understood counts as none, and is told of.
func Open[T any](path string, format int, log *slog.Logger) (*File[T], error) {
	f := &File[T]{path: path, format: format}

	data, err := os.ReadFile(path)

	switch {
	case errors.Is(err, fs.ErrNotExist):
		return f, nil
	case err != nil:
		return nil, fmt.Errorf("read memory of the last run: %w", err)
	}

	if f.Value, err = decode[T](data, format); err != nil {
		log.Warn("memory of the last run not used; what it put in place stays", "file", path, "error", err)
	}

	f.saved = f.Value

	return f, nil
}

func decode[T any](data []byte, format int) (T, error) {
	var none T

	e := envelope[T]{}
	if err := json.Unmarshal(data, &e); err != nil {
		return none, err
	}

	if e.Format != format {
		return none, fmt.Errorf("format %d, not %d", e.Format, format)
	}

	return e.Value, nil
}

// Save writes the file if it would change. The value must not be changed in place afterwards, only replaced. The run
// directory is in memory and lost with the kernel's own state, so there is nothing to sync: a rename is enough for a
// killed daemon to find the old or the new one.
func (f *File[T]) Save() error {
	if reflect.DeepEqual(f.Value, f.saved) {
		return nil
	}

	data, err := json.Marshal(envelope[T]{Format: f.format, Value: f.Value})
	if err != nil {
		return fmt.Errorf("encode memory: %w", err)
	}

	next := f.path + ".next"

	if err := os.MkdirAll(filepath.Dir(f.path), 0o700); err != nil {
		return fmt.Errorf("make directory of memory: %w", err)
	}

	if err := os.WriteFile(next, data, 0o600); err != nil {
		return fmt.Errorf("write memory: %w", err)
	}

	if err := os.Rename(next, f.path); err != nil {
		return fmt.Errorf("replace memory: %w", err)
	}

	f.saved = f.Value

	return nil
}
