package acquire

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/kdomanski/iso9660"
)

// ErrNoVolume is a volume that is not there (yet).
var ErrNoVolume = errors.New("no such volume")

// Volumes finds volumes among the block devices that Sys (/sys/class/block) lists and Dev (/dev) holds. Nothing is mounted.
type Volumes struct{ Sys, Dev string }

// ReadFile reads a file at the root of the first ISO 9660 volume with a label; case does not count in either.
func (v Volumes) ReadFile(label, file string) ([]byte, error) {
	entries, err := os.ReadDir(v.Sys)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("list block devices: %w", err)
	}

	for _, entry := range entries {
		// A device without medium has no sectors.
		if size, err := os.ReadFile(filepath.Join(v.Sys, entry.Name(), "size")); err != nil || strings.TrimSpace(string(size)) == "0" {
			continue
		}

		data, err := readISO(filepath.Join(v.Dev, entry.Name()), label, file)
		if !errors.Is(err, ErrNoVolume) {
			return data, err
		}
	}

	return nil, fmt.Errorf("%w: %s on none of %d block devices", ErrNoVolume, label, len(entries))
}

// readISO answers ErrNoVolume for every device that is not the one looked for, whatever is on it.
func readISO(device, label, file string) ([]byte, error) {
	f, err := os.Open(device)
	if err != nil {
		return nil, errors.Join(ErrNoVolume, err)
	}
	defer f.Close() //nolint:errcheck // only read

	// The volume descriptor, ECMA-119 section 8.4: looked at first, as the library reads on without it.
	descriptor := make([]byte, 2048)
	if _, err := f.ReadAt(descriptor, 16*2048); err != nil || string(descriptor[1:6]) != "CD001" ||
		!strings.EqualFold(strings.TrimRight(string(descriptor[40:72]), " \x00"), label) {
		return nil, ErrNoVolume
	}

	image, err := iso9660.OpenImage(f)
	if err != nil {
		return nil, fmt.Errorf("read volume %s of %s: %w", label, device, err)
	}

	root, err := image.RootDir()
	if err != nil {
		return nil, fmt.Errorf("read volume %s of %s: %w", label, device, err)
	}

	children, err := root.GetChildren()
	if err != nil {
		return nil, fmt.Errorf("read volume %s of %s: %w", label, device, err)
	}

	for _, child := range children {
		if child.IsDir() || !named(child.Name(), file) {
			continue
		}

		data, err := read(child.Reader())
		if err != nil {
			return nil, fmt.Errorf("read %s of volume %s: %w", file, label, err)
		}

		return data, nil
	}

	return nil, fmt.Errorf("volume %s of %s has no file %s", label, device, file)
}

// named compares with a name as plain ISO 9660 has it: upper case, a version behind it, dashes as underscores.
func named(have, want string) bool {
	have, _, _ = strings.Cut(have, ";")
	have = strings.TrimSuffix(have, ".")

	return strings.EqualFold(strings.ReplaceAll(have, "-", "_"), strings.ReplaceAll(want, "-", "_"))
}
