package acquire

import (
	"errors"
	"fmt"
	"os"
)

// ErrNoVolume is a volume that is not there (yet).
var ErrNoVolume = errors.New("no such volume")

// ReadFile reads a regular file at the root of a mounted volume. Whoever made the volume may have put links on it: none that
// leads out of it is followed.
func ReadFile(dir, name string) ([]byte, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, err
	}
	defer root.Close() // only read

	// Looked at first: opening a pipe would wait for its other end.
	info, err := root.Stat(name)
	if err != nil {
		return nil, err
	}

	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s is not a regular file", name)
	}

	f, err := root.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close() // only read

	return read(f)
}
