package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/dactyl-os/dactyl/rootfs/internal/image"
	"github.com/dactyl-os/dactyl/rootfs/internal/tree"
)

// check compares the image's executables with the committed list, and looks for libraries that are missing.
func (b *builder) check(t *tree.Tree) error {
	missing, err := t.Missing()
	if err != nil {
		return err
	}

	if len(missing) > 0 {
		return fmt.Errorf("libraries that no package of packages.yaml brings: %s", strings.Join(missing, ", "))
	}

	lines, err := t.Executables()
	if err != nil {
		return err
	}

	got := []byte(b.neutral(strings.Join(lines, "\n") + "\n"))
	file := filepath.Join(b.repository, "rootfs", "executables.txt")

	if b.update {
		return os.WriteFile(file, got, 0o644)
	}

	want, err := os.ReadFile(file)
	if err != nil {
		return err
	}

	want = b.swapped(want)

	if !bytes.Equal(got, want) {
		return fmt.Errorf("the executables of the image are not those of %s:\n%s", file, difference(string(want), string(got)))
	}

	return nil
}

// swapped is the list with programs where the names of swapped daemons are links.
func (b *builder) swapped(list []byte) []byte {
	for name := range b.swap {
		link := []byte("link /usr/bin/" + name + " -> " + multicall + "\n")
		list = bytes.Replace(list, link, []byte("program /usr/bin/"+name+"\n"), 1)
	}

	return list
}

// neutral takes the architecture out of the loader's name, so that one list holds for all.
func (b *builder) neutral(list string) string {
	return strings.ReplaceAll(list, b.spec.Packages.Loader[b.arch], "ld-linux-ARCH.so")
}

func difference(want, got string) string {
	var out strings.Builder

	for line := range strings.Lines(want) {
		if !strings.Contains(got, line) {
			fmt.Fprintf(&out, "  missing: %s", line)
		}
	}

	for line := range strings.Lines(got) {
		if !strings.Contains(want, line) {
			fmt.Fprintf(&out, "  new: %s", line)
		}
	}

	return out.String()
}

// sizes prints what each part takes, packed alone.
func (b *builder) sizes(ctx context.Context, w io.Writer) error {
	t, err := b.tree(ctx)
	if err != nil {
		return err
	}

	dir, err := os.MkdirTemp("", "sizes")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir) // a temporary directory

	fmt.Fprintf(w, "| part (%s) | files | bytes | packed |\n| --- | --- | --- | --- |\n", b.arch)

	for _, part := range []string{partStatic, partDaemons, partUpstream, partDebian, partModules} {
		only, packing := t.Only(part), image.Small
		if part == partModules {
			packing = image.Dense
		}

		output := filepath.Join(dir, "part")

		if err = image.Squashfs(ctx, only, output, b.epoch, packing); err != nil {
			return err
		}

		if err = line(w, part, only, output); err != nil {
			return err
		}
	}

	for _, name := range []string{"initramfs-%s.xz", "vmlinuz-%s"} {
		if info, err := os.Stat(b.output(name)); err == nil {
			fmt.Fprintf(w, "| %s | 1 | %d | |\n", info.Name(), info.Size())
		}
	}

	return nil
}

func line(w io.Writer, part string, t *tree.Tree, packed string) error {
	var (
		files int
		bytes int64
	)

	for _, e := range t.Entries() {
		if !e.Mode.IsRegular() {
			continue
		}

		content, size, err := e.Open()
		if err != nil {
			return err
		}

		content.Close()

		files++
		bytes += size
	}

	info, err := os.Stat(packed)
	if err != nil {
		return err
	}

	_, err = fmt.Fprintf(w, "| %s | %d | %d | %d |\n", part, files, bytes, info.Size())

	return err
}
