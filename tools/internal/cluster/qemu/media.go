package qemu

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/kdomanski/iso9660"
)

// MakeDisk makes a sparse raw image, unless it is there: a machine keeps its disks.
func MakeDisk(path string, megabytes int) error {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if errors.Is(err, fs.ErrExist) {
		return nil
	}

	if err != nil {
		return fmt.Errorf("make disk: %w", err)
	}

	if err := errors.Join(f.Truncate(int64(megabytes)<<20), f.Close()); err != nil {
		return fmt.Errorf("make disk: %w", errors.Join(err, os.Remove(path)))
	}

	return nil
}

// WriteISO writes a volume with one file.
func WriteISO(path, label, name string, data []byte) error {
	writer, err := iso9660.NewWriter()
	if err != nil {
		return fmt.Errorf("make volume %s: %w", label, err)
	}
	defer writer.Cleanup() //nolint:errcheck // a temporary directory

	if err := writer.AddFile(bytes.NewReader(data), name); err != nil {
		return fmt.Errorf("make volume %s: %w", label, err)
	}

	f, err := os.OpenFile(path, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("make volume %s: %w", label, err)
	}

	if err := errors.Join(writer.WriteTo(f, label), f.Close()); err != nil {
		return fmt.Errorf("write volume %s: %w", label, err)
	}

	return nil
}
