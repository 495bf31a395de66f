package main

import (
	"bytes"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
)

func newDisk(t *testing.T, size int64) *disk {
	t.Helper()

	path := filepath.Join(t.TempDir(), "disk")
	if err := os.WriteFile(path, make([]byte, size), 0o600); err != nil {
		t.Fatal(err)
	}

	d, err := openDisk(path)
	if err != nil {
		t.Fatal(err)
	}

	t.Cleanup(func() { d.file.Close() })

	return d
}

// TestDiskIsADisk compares with plain memory whatever is written, zeroed, written on its own and flushed meanwhile.
func TestDiskIsADisk(t *testing.T) {
	const size = 64 * blockSize

	d, memory := newDisk(t, size), make([]byte, size)

	for step := range 5000 {
		offset := rand.Int64N(size/sectorSize) * sectorSize
		length := min((1+rand.Int64N(64))*sectorSize, size-offset)
		data := bytes.Repeat([]byte{byte(step)}, int(length))

		var err error

		switch rand.IntN(8) {
		case 0:
			err = d.zero(offset, length)

			clear(memory[offset : offset+length])
		case 1:
			err = d.writeSome()
		case 2:
			if err = d.flush(); err == nil {
				there, _ := os.ReadFile(d.file.Name())
				if !bytes.Equal(there, memory) {
					t.Fatalf("step %d: flushed, and not in the file", step)
				}
			}
		default:
			err = d.write(data, offset)

			copy(memory[offset:], data)
		}

		got := make([]byte, length)
		if readErr := d.read(got, offset); err != nil || readErr != nil || !bytes.Equal(got, memory[offset:offset+length]) {
			t.Fatalf("step %d: %v, %v, or other bytes at %d", step, err, readErr, offset)
		}
	}
}

func TestUnflushedIsLost(t *testing.T) {
	d := newDisk(t, blockSize)
	if err := d.write([]byte("text"), 8); err != nil {
		t.Fatal(err)
	}

	if there, err := os.ReadFile(d.file.Name()); err != nil || !bytes.Equal(there, make([]byte, blockSize)) {
		t.Errorf("in the file before a flush: %q, %v", there[:16], err)
	}
}

func TestCacheIsBounded(t *testing.T) {
	d := newDisk(t, (cacheBlocks+100)*blockSize)
	if err := d.write(bytes.Repeat([]byte{1}, int(d.size)), 0); err != nil {
		t.Fatal(err)
	}

	if len(d.dirty) > cacheBlocks {
		t.Errorf("%d blocks in the cache, %d at most", len(d.dirty), cacheBlocks)
	}
}
