package image

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path"

	"github.com/dactyl-os/dactyl/rootfs/internal/cpio"
	"github.com/dactyl-os/dactyl/rootfs/internal/tree"
)

// Initramfs writes two archives, one after the other, as the kernel accepts them: early compressed with xz, and then the
// images as they are, since they are compressed already. An image lies where stage1 looks for what it mounts: that of the
// root, whose place is "/", at /rootfs.sqsh, that of /usr/lib/modules at /rootfs/usr/lib/modules.sqsh.
func Initramfs(ctx context.Context, early *tree.Tree, images map[string]string, output string, epoch int64) error {
	file, err := os.Create(output + ".new")
	if err != nil {
		return err
	}
	defer file.Close() // closed below; this is for the ways out before

	if err = compress(ctx, file, early, epoch); err != nil {
		return fmt.Errorf("compress the initramfs: %w", err)
	}

	packed := tree.New()
	for place, image := range images {
		packed.File(path.Join("/rootfs", place)+".sqsh", image, 0o444)
	}

	if err = errors.Join(cpio.Write(file, packed.Entries(), epoch), file.Close()); err != nil {
		return fmt.Errorf("add the images: %w", err)
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
