// Package cpio writes archives in the "newc" form that the kernel unpacks as its first file system
// (Documentation/driver-api/early-userspace/buffer-format.rst).
package cpio

import (
	"bufio"
	"fmt"
	"io"
	"io/fs"

	"github.com/dactyl-os/dactyl/rootfs/internal/tree"
)

// Types of files in the mode of an entry (cpio(5)).
const (
	typeDirectory = 0o040000
	typeDevice    = 0o020000
	typeFile      = 0o100000
	typeLink      = 0o120000
)

// Write writes the entries in their order, owned by root, changed at the time epoch (seconds since 1970).
func Write(w io.Writer, entries []tree.Entry, epoch int64) error {
	out := &archive{w: bufio.NewWriterSize(w, 1<<20), epoch: epoch}

	for _, e := range entries {
		if err := out.add(e); err != nil {
			return fmt.Errorf("archive %s: %w", e.Path, err)
		}
	}

	if err := out.header("TRAILER!!!", 0, 0, tree.Entry{}); err != nil {
		return err
	}

	if err := out.align(512); err != nil {
		return err
	}

	return out.w.Flush()
}

type archive struct {
	w      *bufio.Writer
	offset int64
	inode  uint32
	epoch  int64
}

func (a *archive) add(e tree.Entry) error {
	if e.Mode.IsRegular() {
		return a.file(e)
	}

	if err := a.header(e.Path, mode(e.Mode), int64(len(e.Link)), e); err != nil {
		return err
	}

	n, err := a.w.WriteString(e.Link)
	a.offset += int64(n)

	if err != nil {
		return err
	}

	return a.align(4)
}

func (a *archive) file(e tree.Entry) error {
	content, size, err := e.Open()
	if err != nil {
		return err
	}
	defer content.Close() // only read

	if size > 0xffffffff {
		return fmt.Errorf("%d bytes are more than a cpio archive can say", size)
	}

	if err = a.header(e.Path, mode(e.Mode), size, e); err != nil {
		return err
	}

	n, err := io.Copy(a.w, content)
	a.offset += n

	if err == nil && n != size {
		err = fmt.Errorf("%d bytes of %d", n, size)
	}

	if err != nil {
		return err
	}

	return a.align(4)
}

// header writes the 110 bytes before a name, the name, and zeros up to the content.
func (a *archive) header(name string, mode uint32, size int64, e tree.Entry) error {
	var inode, links uint32

	if mode != 0 {
		a.inode++
		inode, links = a.inode, 1
	}

	epoch := a.epoch
	if mode == 0 {
		epoch, links = 0, 1
	}

	n, err := fmt.Fprintf(a.w, "070701%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%s\x00",
		inode, mode, 0, 0, links, uint32(epoch), uint32(size), 0, 0, e.Major, e.Minor, len(name)+1, 0, name)
	a.offset += int64(n)

	if err != nil {
		return err
	}

	return a.align(4)
}

func (a *archive) align(to int64) error {
	for a.offset%to != 0 {
		if err := a.w.WriteByte(0); err != nil {
			return err
		}

		a.offset++
	}

	return nil
}

func mode(m fs.FileMode) uint32 {
	bits := uint32(m.Perm())
	if m&fs.ModeSticky != 0 {
		bits |= 0o1000
	}

	switch {
	case m.IsDir():
		return bits | typeDirectory
	case m&fs.ModeSymlink != 0:
		return bits | typeLink
	case m&fs.ModeCharDevice != 0:
		return bits | typeDevice
	default:
		return bits | typeFile
	}
}
