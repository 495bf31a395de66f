package block

import (
	"fmt"
	"io"
	"os"

	"github.com/siderolabs/go-blockdevice/v2/blkid"
	"golang.org/x/sys/unix"
)

// probeLeast is what the library wants to read at least. Volumes with nothing but a configuration are smaller.
const probeLeast = 64 << 10

// probe tells what is on a device.
func probe(f *os.File) (*blkid.Info, error) {
	size, err := f.Seek(0, io.SeekEnd)
	if err != nil {
		return nil, err
	}

	if size == 0 || size > probeLeast {
		return blkid.Probe(f, blkid.WithSkipLocking(true))
	}

	padded, err := pad(f, size)
	if err != nil {
		return nil, err
	}

	defer padded.Close() // it is memory

	return blkid.Probe(padded, blkid.WithSkipLocking(true))
}

// pad copies a small device to memory, with zeros behind it.
func pad(f *os.File, size int64) (*os.File, error) {
	fd, err := unix.MemfdCreate("probe", unix.MFD_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("pad %s: %w", f.Name(), err)
	}

	padded := os.NewFile(uintptr(fd), f.Name())

	_, err = io.Copy(padded, io.NewSectionReader(f, 0, size))
	if err == nil {
		err = padded.Truncate(2 * probeLeast)
	}

	if err != nil {
		padded.Close() // nothing is kept

		return nil, fmt.Errorf("pad %s: %w", f.Name(), err)
	}

	return padded, nil
}
