package main

import (
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"slices"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

const (
	blockSize  = 4096
	sectorSize = 512
	// cacheBlocks are 32 MiB: what disks have.
	cacheBlocks = 8192
	// pause and portion pace what the disk writes on its own.
	pause   = 20 * time.Millisecond
	portion = 16
)

type block [blockSize]byte

// disk is an image with a write cache in memory.
type disk struct {
	file *os.File
	size int64

	mu    sync.Mutex
	dirty map[int64]*block
}

func openDisk(path string) (*disk, error) {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}

	size, err := f.Seek(0, io.SeekEnd)
	if err != nil {
		return nil, fmt.Errorf("measure %s: %w", path, err)
	}

	if size%blockSize != 0 {
		return nil, fmt.Errorf("%s has %d bytes: no multiple of %d", path, size, blockSize)
	}

	return &disk{file: f, size: size, dirty: map[int64]*block{}}, nil
}

// read gives what was written last, wherever it is.
func (d *disk) read(p []byte, offset int64) error {
	d.mu.Lock()
	defer d.mu.Unlock()

	return d.readLocked(p, offset)
}

func (d *disk) readLocked(p []byte, offset int64) error {
	if _, err := d.file.ReadAt(p, offset); err != nil {
		return fmt.Errorf("read at %d: %w", offset, err)
	}

	for at := offset / blockSize * blockSize; at < offset+int64(len(p)); at += blockSize {
		if b := d.dirty[at]; b != nil {
			from := max(offset, at)
			copy(p[from-offset:], b[from-at:])
		}
	}

	return nil
}

// write puts data into the cache.
func (d *disk) write(p []byte, offset int64) error {
	d.mu.Lock()
	defer d.mu.Unlock()

	for len(p) > 0 {
		at := offset / blockSize * blockSize

		b := d.dirty[at]
		if b == nil {
			b = &block{}
			if offset != at || len(p) < blockSize {
				if err := d.readLocked(b[:], at); err != nil {
					return err
				}
			}

			d.dirty[at] = b
		}

		n := copy(b[offset-at:], p)
		p, offset = p[n:], offset+int64(n)
	}

	for len(d.dirty) > cacheBlocks {
		if err := d.writeSome(); err != nil {
			return err
		}
	}

	return nil
}

// zero lasts at once, which a disk may do with anything.
func (d *disk) zero(offset, length int64) error {
	first, end := (offset+blockSize-1)/blockSize*blockSize, (offset+length)/blockSize*blockSize

	if end <= first {
		return d.write(make([]byte, length), offset)
	}

	if err := d.write(make([]byte, first-offset), offset); err != nil {
		return err
	}

	if err := d.write(make([]byte, offset+length-end), end); err != nil {
		return err
	}

	d.mu.Lock()
	defer d.mu.Unlock()

	for at := range d.dirty {
		if at >= first && at < end {
			delete(d.dirty, at)
		}
	}

	return unix.Fallocate(int(d.file.Fd()), unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE, first, end-first)
}

// flush makes all that was written last.
func (d *disk) flush() error {
	d.mu.Lock()
	defer d.mu.Unlock()

	order := make([]int64, 0, len(d.dirty))
	for at := range d.dirty {
		order = append(order, at)
	}

	slices.Sort(order)

	for _, at := range order {
		if _, err := d.file.WriteAt(d.dirty[at][:], at); err != nil {
			return fmt.Errorf("write at %d: %w", at, err)
		}

		delete(d.dirty, at)
	}

	return nil
}

// writeSome writes a few blocks in no order, some of them only in part: a power cut may find a block half written.
func (d *disk) writeSome() error {
	count := portion

	for at, b := range d.dirty {
		if count--; count < 0 {
			return nil
		}

		whole := rand.IntN(4) > 0
		part := b[:]

		if !whole {
			part = b[:sectorSize*rand.IntN(blockSize/sectorSize)]
		}

		if _, err := d.file.WriteAt(part, at); err != nil {
			return fmt.Errorf("write at %d: %w", at, err)
		}

		if whole {
			delete(d.dirty, at)
		}
	}

	return nil
}

// writeBehind writes on its own, as disks do, for as long as the process lives. What cannot be written stays in the cache,
// and the next flush tells.
func (d *disk) writeBehind() {
	for range time.Tick(pause) {
		d.mu.Lock()
		_ = d.writeSome()
		d.mu.Unlock()
	}
}
