package files

import (
	"archive/tar"
	"bufio"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
)

// Chunk is how much of a file goes into one message.
const Chunk = 64 << 10

// ErrNotRegular is given for a path that is no regular file.
var ErrNotRegular = errors.New("path must be a regular file")

// Open opens a regular file, or what reads like one (as those in /proc do).
func (r Root) Open(path string) (*os.File, error) {
	at, err := r.Resolve(path)
	if err != nil {
		return nil, err
	}

	info, err := os.Stat(at)
	if err != nil {
		return nil, err
	}

	// A pipe or a device may block for ever or have side effects.
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%w: %s", ErrNotRegular, r.Show(at))
	}

	return os.Open(at)
}

// Send sends what src gives in chunks, each buffer free again when send returns.
func Send(ctx context.Context, src io.Reader, send func([]byte) error) error {
	buffer := make([]byte, Chunk)

	for ctx.Err() == nil {
		n, err := src.Read(buffer)
		if n > 0 {
			if sendErr := send(buffer[:n]); sendErr != nil {
				return sendErr
			}
		}

		if errors.Is(err, io.EOF) {
			return nil
		}

		if err != nil {
			return err
		}
	}

	return ctx.Err()
}

// Archive writes a tar.gz of a file or a directory tree; names are relative to the path, a single file has its own name.
func (r Root) Archive(ctx context.Context, path string, out io.Writer) error {
	asked, err := r.Resolve(path)
	if err != nil {
		return err
	}

	begin, info, err := start(asked)
	if err != nil {
		return err
	}

	buffered := bufio.NewWriterSize(out, Chunk)
	zip := gzip.NewWriter(buffered)
	a := &archive{ctx: ctx, top: begin, tar: tar.NewWriter(zip), buffer: make([]byte, Chunk)}

	if info.IsDir() {
		err = filepath.WalkDir(begin, a.visit)
	} else {
		err = a.add(begin, filepath.Base(asked), info)
	}

	if err != nil {
		return err
	}

	if err = a.tar.Close(); err != nil {
		return fmt.Errorf("finish archive: %w", err)
	}

	if err = zip.Close(); err != nil {
		return fmt.Errorf("finish archive: %w", err)
	}

	return buffered.Flush()
}

type archive struct {
	ctx    context.Context
	top    string
	tar    *tar.Writer
	buffer []byte
}

func (a *archive) visit(path string, entry os.DirEntry, err error) error {
	if err = errors.Join(a.ctx.Err(), err); err != nil {
		return err
	}

	info, err := entry.Info()
	if os.IsNotExist(err) {
		return nil
	}

	if err != nil {
		return err
	}

	rel, err := filepath.Rel(a.top, path)
	if err != nil {
		return err
	}

	return a.add(path, rel, info)
}

func (a *archive) add(path, name string, info os.FileInfo) error {
	if info.Mode()&(os.ModeSocket|os.ModeNamedPipe|os.ModeDevice) != 0 {
		return nil // nothing that could be read
	}

	link := ""

	if info.Mode()&os.ModeSymlink != 0 {
		var err error
		if link, err = os.Readlink(path); err != nil {
			return err
		}
	}

	header, err := tar.FileInfoHeader(info, link)
	if err != nil {
		return fmt.Errorf("archive %s: %w", name, err)
	}

	header.Name = name
	if info.IsDir() {
		header.Name += "/"
	}

	if !info.Mode().IsRegular() {
		return a.tar.WriteHeader(header)
	}

	return a.file(path, header)
}

// A file's bytes must be as many as its header says, whatever is written to it meanwhile.
func (a *archive) file(path string, header *tar.Header) error {
	file, err := os.Open(path)
	if err != nil {
		return err
	}
	defer file.Close()

	if err = a.tar.WriteHeader(header); err != nil {
		return err
	}

	n, err := io.CopyBuffer(struct{ io.Writer }{a.tar}, io.LimitReader(struct{ io.Reader }{file}, header.Size), a.buffer)
	if err != nil {
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

	return nil
}
