package image

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"os"

	"golang.org/x/sys/unix"

	"github.com/dactyl-os/dactyl/rootfs/internal/tree"
)

// Pack packs the tree unless output has it already, which the digest in output.key tells. It says whether it packed.
func Pack(ctx context.Context, t *tree.Tree, output string, epoch int64, packing Packing) (bool, error) {
	key, err := digest(t, epoch, packing)
	if err != nil {
		return false, err
	}

	// Builds with other outputs share a cache: the second waits, and finds the image.
	lock, err := os.Create(output + ".lock")
	if err != nil {
		return false, err
	}
	defer lock.Close() // closing gives the lock back

	if err = unix.Flock(int(lock.Fd()), unix.LOCK_EX); err != nil {
		return false, fmt.Errorf("lock %s: %w", output, err)
	}

	if current(output, key) {
		return false, nil
	}

	// A stop half-way leaves no key beside another image.
	if err = os.Remove(output + ".key"); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return false, err
	}

	if err = Squashfs(ctx, t, output+".new", epoch, packing); err != nil {
		return false, err
	}

	if err = os.Rename(output+".new", output); err != nil {
		return false, err
	}

	return true, os.WriteFile(output+".key", key, 0o644)
}

func current(output string, key []byte) bool {
	if _, err := os.Stat(output); err != nil {
		return false
	}

	old, err := os.ReadFile(output + ".key")

	return err == nil && bytes.Equal(old, key)
}

// digest tells trees and ways of packing apart that give other bytes.
func digest(t *tree.Tree, epoch int64, packing Packing) ([]byte, error) {
	compression, err := packing.arguments()
	if err != nil {
		return nil, err
	}

	key, err := Digest(t, fmt.Sprintf("%s %d", compression, epoch))

	return []byte(key + "\n"), err
}

// Digest tells trees and ways of packing apart.
func Digest(t *tree.Tree, packing string) (string, error) {
	sum := sha256.New()
	fmt.Fprintln(sum, packing)

	for _, e := range t.Entries() {
		fmt.Fprintf(sum, "%q %v %q %d %d\n", e.Path, e.Mode, e.Link, e.Major, e.Minor)

		if e.Mode.IsRegular() {
			if err := addContent(sum, e); err != nil {
				return "", fmt.Errorf("digest of %s: %w", e.Path, err)
			}
		}
	}

	return hex.EncodeToString(sum.Sum(nil)), nil
}

func addContent(sum hash.Hash, e tree.Entry) error {
	content, size, err := e.Open()
	if err != nil {
		return err
	}
	defer content.Close() // only read

	fmt.Fprintln(sum, size)
	_, err = io.Copy(sum, content)

	return err
}
