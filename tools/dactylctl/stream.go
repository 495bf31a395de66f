package main

import (
	"archive/tar"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/dactyl-os/dactyl/proto/common"
	"github.com/dactyl-os/dactyl/proto/machine"
	"github.com/dactyl-os/dactyl/tools/internal/client"
)

// copyData writes a stream of bytes.
func copyData(c *client.Client, stream client.Receiver[*common.Data], w io.Writer) error {
	return client.Receive(c, stream, func(_ string, m *common.Data) error {
		_, err := w.Write(m.GetBytes())

		return err
	})
}

func (a *app) readCommand() *cobra.Command {
	return &cobra.Command{
		Use:     "read <path>",
		Short:   "Print a file of a node",
		Args:    cobra.ExactArgs(1),
		Example: "  dactylctl -n 10.5.0.2 read /proc/cmdline",
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.connect(cmd, func(ctx context.Context, c *client.Client) error {
				return everyNode(ctx, c, func(ctx context.Context, _ string) error {
					stream, err := c.Machine.Read(ctx, &machine.ReadRequest{Path: args[0]})
					if err != nil {
						return err
					}

					return copyData(c, stream, a.out)
				})
			})
		},
	}
}

func (a *app) dmesgCommand() *cobra.Command {
	var follow, tail bool
	cmd := &cobra.Command{
		Use:     "dmesg",
		Short:   "Print the kernel's log",
		Args:    cobra.NoArgs,
		Example: "  dactylctl -n 10.5.0.2 dmesg -f --tail",
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.connect(cmd, func(ctx context.Context, c *client.Client) error {
				return followNodes(ctx, c, a.out, follow, func(ctx context.Context, w *lineWriter) error {
					stream, err := c.Machine.Dmesg(ctx, &machine.DmesgRequest{Follow: follow, Tail: tail})
					if err != nil {
						return err
					}

					return copyData(c, stream, w)
				})
			})
		},
	}
	cmd.Flags().BoolVarP(&follow, "follow", "f", false, "go on and print new messages")
	cmd.Flags().BoolVar(&tail, "tail", false, "print only new messages (with --follow)")

	return cmd
}

func (a *app) copyCommand() *cobra.Command {
	return &cobra.Command{
		Use:     "copy <src-path> -|<local-path>",
		Aliases: []string{"cp"},
		Short:   "Copy files from a node",
		Long:    "Copy a file or a directory from a node into a local directory, or as a gzipped tar archive to the standard output (-).",
		Args:    cobra.ExactArgs(2),
		Example: "  dactylctl -n 10.5.0.2 copy /var/log/dactyl logs\n  dactylctl -n 10.5.0.2 copy /etc - | tar tz",
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.oneNode(cmd, func(ctx context.Context, c *client.Client, _ string) error {
				stream, err := c.Machine.Copy(ctx, &machine.CopyRequest{RootPath: args[0]})
				if err != nil {
					return err
				}
				if args[1] == "-" {
					return copyData(c, stream, a.out)
				}

				return extractStream(c, stream, args[1])
			})
		},
	}
}

func extractStream(c *client.Client, stream client.Receiver[*common.Data], into string) error {
	r, w := io.Pipe()
	copied := make(chan error, 1)
	go func() {
		err := copyData(c, stream, w)
		w.CloseWithError(err)
		copied <- err
	}()
	err := extract(r, into)
	if err == nil {
		_, err = io.Copy(io.Discard, r) // what could not be copied is told at the very end
	}

	r.CloseWithError(err)
	if streamErr := <-copied; streamErr != nil && !errors.Is(streamErr, io.ErrClosedPipe) {
		return streamErr
	}

	return err
}

// extract unpacks a gzipped tar archive; no name in it may lead out of the directory.
func extract(r io.Reader, into string) error {
	zipped, err := gzip.NewReader(r)
	if err != nil {
		return fmt.Errorf("open the archive: %w", err)
	}
	if err := os.MkdirAll(into, 0o755); err != nil {
		return err
	}
	root, err := os.OpenRoot(into)
	if err != nil {
		return err
	}
	defer root.Close()
	for archive := tar.NewReader(zipped); ; {
		h, err := archive.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("read the archive: %w", err)
		}
		if err := extractOne(root, h, archive); err != nil {
			return fmt.Errorf("unpack %s: %w", h.Name, err)
		}
	}
}

func extractOne(root *os.Root, h *tar.Header, content io.Reader) error {
	name := strings.TrimPrefix(filepath.Clean("/"+h.Name), "/")
	if name == "" {
		return nil
	}
	if dir := filepath.Dir(name); dir != "." {
		if err := root.MkdirAll(dir, 0o755); err != nil {
			return err
		}
	}
	switch h.Typeflag {
	case tar.TypeDir:
		if err := root.Mkdir(name, fs.FileMode(h.Mode).Perm()|0o700); err != nil && !errors.Is(err, fs.ErrExist) {
			return err
		}

		return nil
	case tar.TypeSymlink:
		return root.Symlink(h.Linkname, name)
	case tar.TypeReg:
		f, err := root.OpenFile(name, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, fs.FileMode(h.Mode).Perm())
		if err != nil {
			return err
		}
		_, err = io.Copy(f, content)

		return errors.Join(err, f.Close())
	}

	return nil // devices and sockets have no meaning here
}
