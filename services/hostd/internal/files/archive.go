package files

import (
	"archive/tar"
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"
)

const (
	// kernelFile bounds files whose size the kernel does not know before they are read, and readTime how long they may take.
	kernelFile = 16 << 20
	readTime   = 2 * time.Second
	// named are how many of the files that could not be read an error names.
	named = 10
)

// Unreadable are the files of a tree that an archive lacks; the rest of it is whole.
type Unreadable struct {
	Errs []error // the first few
	// Missing and Copied count files.
	Missing, Copied int
}

func (u *Unreadable) Error() string {
	texts := make([]string, 0, len(u.Errs)+1)
	for _, err := range u.Errs {
		texts = append(texts, err.Error())
	}

	if more := u.Missing - len(u.Errs); more > 0 {
		texts = append(texts, fmt.Sprintf("and %d more", more))
	}

	return fmt.Sprintf("%d files are copied, %d could not be read: %s", u.Copied, u.Missing, strings.Join(texts, "; "))
}

// Archive writes a tar.gz of a file or a directory tree; names are relative to the path, a single file has its own name. The
// error is *Unreadable when only some files are missing.
func (r Root) Archive(ctx context.Context, path string, out io.Writer) error {
	asked, begin, info, err := r.start(path)
	if err != nil {
		return err
	}

	buffered := bufio.NewWriterSize(out, Chunk)
	zip := gzip.NewWriter(buffered)
	a := &archive{ctx: ctx, root: r, top: begin, tar: tar.NewWriter(zip), buffer: make([]byte, Chunk)}

	switch {
	case info.IsDir():
		err = a.directory(begin, info)
	case !info.Mode().IsRegular():
		return fmt.Errorf("%w, or a directory: %s is %s", ErrNotRegular, r.Show(asked), kind(info.Mode()))
	default:
		err = a.file(begin, filepath.Base(asked), info)
	}

	if err != nil {
		return err
	}

	if err = errors.Join(a.tar.Close(), zip.Close(), buffered.Flush()); err != nil {
		return fmt.Errorf("finish archive: %w", err)
	}

	if a.unreadable.Missing > 0 {
		return &a.unreadable
	}

	return nil
}

type archive struct {
	ctx        context.Context
	root       Root
	top        string
	tar        *tar.Writer
	buffer     []byte
	unreadable Unreadable
}

// lacks notes what cannot be read; the archive goes on without it.
func (a *archive) lacks(path string, err error) {
	if errors.Is(err, os.ErrNotExist) {
		return // went away meanwhile, as processes in /proc do
	}

	a.unreadable.Missing++

	if inner := (*os.PathError)(nil); errors.As(err, &inner) {
		err = inner.Err
	}

	if len(a.unreadable.Errs) < named {
		a.unreadable.Errs = append(a.unreadable.Errs, fmt.Errorf("%s: %w", a.root.Show(path), err))
	}
}

func (a *archive) directory(path string, info os.FileInfo) error {
	rel, err := filepath.Rel(a.top, path)
	if err != nil {
		return err
	}

	// The directory itself is where the archive is unpacked: clients make it, and some refuse to make it twice.
	if rel != "." {
		if err := errors.Join(a.ctx.Err(), a.header(rel+"/", info, "")); err != nil {
			return err
		}
	}

	entries, err := a.root.readDir(path)
	if err != nil {
		a.lacks(path, err)
	}

	for _, entry := range entries {
		below := filepath.Join(path, entry.Name())

		info, err := entry.Info()
		if err != nil {
			a.lacks(below, err)

			continue
		}

		if err := a.entry(below, filepath.Join(rel, entry.Name()), info); err != nil {
			return err
		}
	}

	return nil
}

// entry leaves out what cannot be read by its kind: pipes, sockets, devices.
func (a *archive) entry(path, name string, info os.FileInfo) error {
	switch {
	case info.IsDir():
		return a.directory(path, info)
	case info.Mode().IsRegular():
		return a.file(path, name, info)
	case info.Mode()&os.ModeSymlink != 0:
		link, err := os.Readlink(path)
		if err != nil {
			a.lacks(path, err)

			return nil
		}

		return a.header(name, info, link)
	default:
		return nil
	}
}

func (a *archive) header(name string, info os.FileInfo, link string) error {
	header, err := tar.FileInfoHeader(info, link)
	if err != nil {
		return fmt.Errorf("archive %s: %w", name, err)
	}

	header.Name = name

	return a.tar.WriteHeader(header)
}

// file adds a file. Its bytes must be as many as its header says, whatever is written to it meanwhile.
func (a *archive) file(path, name string, info os.FileInfo) error {
	file, err := a.root.open(path)
	if err != nil {
		a.lacks(path, err)

		return a.ctx.Err()
	}
	defer file.Close()

	header, err := tar.FileInfoHeader(info, "")
	if err != nil {
		return fmt.Errorf("archive %s: %w", name, err)
	}

	header.Name = name

	var content io.Reader = file

	if unsized(file, header.Size) {
		data, err := readAll(file)
		if err != nil {
			a.lacks(path, err)

			return a.ctx.Err()
		}

		header.Size, content = int64(len(data)), bytes.NewReader(data)
	}

	a.unreadable.Copied++

	if err := errors.Join(a.ctx.Err(), a.tar.WriteHeader(header)); err != nil {
		return err
	}

	return a.content(path, content, header)
}

func (a *archive) content(path string, from io.Reader, header *tar.Header) error {
	reader := &failing{Reader: from}

	n, err := io.CopyBuffer(struct{ io.Writer }{a.tar}, io.LimitReader(reader, header.Size), a.buffer)
	if reader.err != nil {
		a.lacks(path, reader.err) // its start is there, and zeros
	} else if err != nil {
		return fmt.Errorf("archive %s: %w", header.Name, err)
	}

	for missing := header.Size - n; missing > 0; {
		clear(a.buffer)

		written, err := a.tar.Write(a.buffer[:min(missing, int64(len(a.buffer)))])
		if err != nil {
			return err
		}

		missing -= int64(written)
	}

	return a.ctx.Err()
}

// failing tells a reader's errors from the writer's.
type failing struct {
	io.Reader
	err error
}

func (f *failing) Read(p []byte) (int, error) {
	n, err := f.Reader.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		f.err = err
	}

	return n, err
}

// unsized tells whether a file's size says nothing: the kernel's own files are as long as what a read gives.
func unsized(file *os.File, size int64) bool { return size == 0 || onKernel(file) }

// readAll reads a file of the kernel's.
func readAll(file *os.File) ([]byte, error) {
	_ = file.SetReadDeadline(time.Now().Add(readTime)) // what cannot wait has no deadline

	data, err := io.ReadAll(io.LimitReader(file, kernelFile+1))
	if err == nil && len(data) > kernelFile {
		return nil, fmt.Errorf("it is longer than %d MiB", kernelFile>>20)
	}

	return data, err
}
