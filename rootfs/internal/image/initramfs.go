package image

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"

	"github.com/dactyl-os/dactyl/rootfs/internal/cpio"
	"github.com/dactyl-os/dactyl/rootfs/internal/tree"
)

// RootImage is the name of the root filesystem's image inside the initramfs, which stage1 mounts.
const RootImage = "rootfs.sqsh"

// Initramfs writes two archives, one after the other, as the kernel accepts them: early compressed with xz, and then the root
// image as it is, since it is compressed already.
func Initramfs(ctx context.Context, early *tree.Tree, root, output string, epoch int64) error {
	file, err := os.Create(output + ".new")
	if err != nil {
		return err
	}
	defer file.Close() //nolint:errcheck // closed below; this is for the ways out before

	if err = compress(ctx, file, early, epoch); err != nil {
		return fmt.Errorf("compress the initramfs: %w", err)
	}

	image := tree.New()
	image.File(RootImage, root, 0o444)

	if err = errors.Join(cpio.Write(file, image.Entries(), epoch), file.Close()); err != nil {
		return fmt.Errorf("add the root image: %w", err)
	}

	return os.Rename(output+".new", output)
}

// compress writes the archive with xz; the kernel knows no other checksum of it than CRC32.
func compress(ctx context.Context, w io.Writer, t *tree.Tree, epoch int64) error {
	cmd := exec.CommandContext(ctx, "xz", "--compress", "--stdout", "--check=crc32", "--threads=1", "-9")
	cmd.Stdout, cmd.Stderr = w, os.Stderr

	input, err := cmd.StdinPipe()
	if err != nil {
		return err
	}

	if err = cmd.Start(); err != nil {
		return err
	}

	err = errors.Join(cpio.Write(input, t.Entries(), epoch), input.Close())

	return errors.Join(err, cmd.Wait())
}
