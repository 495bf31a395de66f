// Package memory is what networkd keeps in its run directory over a restart of the daemon (not of the node): what it
// answers for in the kernel, and the specs it last worked by. So a restarted networkd goes on where it was.
package memory

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"

	"github.com/dactyl-os/dactyl/services/networkd/internal/plan"
	"github.com/dactyl-os/dactyl/services/networkd/internal/spec"
)

// Network is what Configure remembers.
type Network struct {
	Owned plan.Owned `json:"owned"`
	// Sets are the sources that were merged, Complete says that the machine configuration was one of them.
	Sets     []spec.Set `json:"sets"`
	Complete bool       `json:"complete"`
}

// Addresses is what Observe remembers: the NodeAddress resources by ID. The default address stays as long as it exists.
type Addresses map[string][]netip.Prefix

// File is a value with its place on disk. One goroutine at a time.
type File[T any] struct {
	Value T

	path  string
	saved T
}

// format changes when a reader would misunderstand what an older or newer networkd wrote.
const format = 1

type envelope[T any] struct {
	Format int `json:"format"`
	Value  T   `json:"value"`
}

// Open reads the file at path. A file that cannot be understood (another version wrote it) counts as none, and is told of:
// then nothing that is there is removed.
func Open[T any](path string, log *slog.Logger) (*File[T], error) {
	f := &File[T]{path: path}

	data, err := os.ReadFile(path)

	switch {
	case errors.Is(err, fs.ErrNotExist):
		return f, nil
	case err != nil:
		return nil, fmt.Errorf("read memory of the last run: %w", err)
	}

	if f.Value, err = decode[T](data); err != nil {
		log.Warn("memory of the last run not used; what it put in place stays", "file", path, "error", err)
	}

	f.saved = f.Value

	return f, nil
}

func decode[T any](data []byte) (T, error) {
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

	data, err := json.Marshal(envelope[T]{Format: format, Value: f.Value})
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
