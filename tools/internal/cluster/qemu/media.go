package qemu

import (
	"bytes"
	"errors"
	"fmt"
	"os"

	"github.com/kdomanski/iso9660"
)

// MakeDisk makes a sparse raw image. One that is there keeps what is on it, and grows.
func MakeDisk(path string, megabytes int) error {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("make disk: %w", err)
	}

	info, err := f.Stat()
	if err == nil && info.Size() < int64(megabytes)<<20 {
		err = f.Truncate(int64(megabytes) << 20)
	}

	if err := errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("make disk: %w", err)
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
