package store

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/dactyl-os/dactyl/services/kit/atomicfile"
)

// File is the path of a file that only root reads and that is replaced as a whole.
type File string

// Read gives nil for a file that is not there.
func (f File) Read(context.Context) ([]byte, error) {
	data, err := os.ReadFile(string(f))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}

	return data, err
}

// Write replaces the file; it lasts when Write returns.
func (f File) Write(_ context.Context, data []byte) error {
	return atomicfile.Write(string(f), data, 0o600)
}

// Remove removes the file if it is there.
func (f File) Remove() error {
	err := os.RemoveAll(string(f)) // whatever is in its place
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}

	if err != nil {
		return err
	}

	return atomicfile.SyncDir(filepath.Dir(string(f)))
}
