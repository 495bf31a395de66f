// Package image packs trees: the root filesystem as squashfs, the initramfs as cpio.
package image

import (
	"archive/tar"
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"time"

	"github.com/dactyl-os/dactyl/rootfs/internal/tree"
)

// Packing is how an image is compressed, as tree.yaml names it; figures are in ADR 5.
type Packing string

// Small is for images that are given to others. Fast takes a tenth of the time and 8 % more bytes, for trying something out.
// Dense takes an eighth less than Small and ten times as long to read, for what is read once.
const (
	Small Packing = "small"
	Fast  Packing = "fast"
	Dense Packing = "dense"
)

// arguments are mksquashfs's.
func (p Packing) arguments() ([]string, error) {
	common := []string{"-b", "128K", "-comp"}

	switch p {
	case Small:
		return append(common, "zstd", "-Xcompression-level", "15"), nil
	case Fast:
		return append(common, "zstd", "-Xcompression-level", "6"), nil
	case Dense:
		return append(common, "xz"), nil
	}

	return nil, fmt.Errorf("unknown packing %q: %s, %s or %s", string(p), Small, Fast, Dense)
}

// Squashfs packs the tree; every time in it is epoch (seconds since 1970).
func Squashfs(ctx context.Context, t *tree.Tree, output string, epoch int64, packing Packing) error {
	compression, err := packing.arguments()
	if err != nil {
		return err
	}

	if err = os.Remove(output); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}

	at := strconv.FormatInt(epoch, 10)
	args := append([]string{"-", output, "-tar", "-quiet", "-no-progress", "-reproducible", "-no-xattrs",
		"-root-mode", "0755", "-root-uid", "0", "-root-gid", "0", "-mkfs-time", at, "-all-time", at}, compression...)
	cmd := exec.CommandContext(ctx, "mksquashfs", args...)
	cmd.Env = withoutEpoch(os.Environ())
	cmd.Stdout, cmd.Stderr = os.Stderr, os.Stderr

	input, err := cmd.StdinPipe()
	if err != nil {
		return err
	}

	if err = cmd.Start(); err != nil {
		return fmt.Errorf("start mksquashfs (package squashfs-tools): %w", err)
	}

	err = errors.Join(WriteTar(input, t.Entries(), epoch), input.Close())

	if waited := cmd.Wait(); waited != nil {
		return fmt.Errorf("pack %s: mksquashfs: %w", output, waited)
	}

	return err
}

// withoutEpoch drops the variable that mksquashfs refuses beside its own options for times.
func withoutEpoch(env []string) []string {
	var kept []string

	for _, e := range env {
		if !strings.HasPrefix(e, "SOURCE_DATE_EPOCH=") {
			kept = append(kept, e)
		}
	}

	return kept
}

// WriteTar writes a tar with the entries, all owned by root and of one time.
func WriteTar(w io.Writer, entries []tree.Entry, epoch int64) error {
	buffer := bufio.NewWriterSize(w, 1<<20)
	archive := tar.NewWriter(buffer)

	for _, e := range entries {
		if err := addTar(archive, e, epoch); err != nil {
			return fmt.Errorf("archive %s: %w", e.Path, err)
		}
	}

	return errors.Join(archive.Close(), buffer.Flush())
}

func addTar(archive *tar.Writer, e tree.Entry, epoch int64) error {
	header := &tar.Header{
		Name: e.Path, Mode: int64(e.Mode.Perm()), ModTime: time.Unix(epoch, 0), Format: tar.FormatGNU, Linkname: e.Link,
	}

	if e.Mode&fs.ModeSticky != 0 {
		header.Mode |= 0o1000
	}

	switch {
	case e.Mode.IsDir():
		header.Typeflag, header.Name = tar.TypeDir, e.Path+"/"
	case e.Mode&fs.ModeSymlink != 0:
		header.Typeflag = tar.TypeSymlink
	case e.Mode&fs.ModeCharDevice != 0:
		header.Typeflag, header.Devmajor, header.Devminor = tar.TypeChar, int64(e.Major), int64(e.Minor)
	default:
		return addFile(archive, header, e)
	}

	return archive.WriteHeader(header)
}

func addFile(archive *tar.Writer, header *tar.Header, e tree.Entry) error {
	content, size, err := e.Open()
	if err != nil {
		return err
	}
	defer content.Close() // only read

	header.Typeflag, header.Size = tar.TypeReg, size

	if err = archive.WriteHeader(header); err != nil {
		return err
	}

	_, err = io.Copy(archive, content)

	return err
}
