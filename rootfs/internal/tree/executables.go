package tree

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
)

// Executables describes every file that a kernel or a loader could run, one line each: programs, shared libraries and
// scripts, whatever their mode and name, and links to programs. Files that run as their owner or group are marked. Kernel
// modules are not among them.
func (t *Tree) Executables() ([]string, error) {
	var lines []string

	for _, e := range t.Entries() {
		switch {
		case e.Mode.IsRegular():
			kind, err := e.kind()
			if err != nil {
				return nil, fmt.Errorf("look at %s: %w", e.Path, err)
			}

			if kind == "" && e.Mode&(fs.ModeSetuid|fs.ModeSetgid) != 0 {
				kind = "unknown"
			}

			if e.Mode&(fs.ModeSetuid|fs.ModeSetgid) != 0 {
				kind = "setuid " + kind
			}

			if kind != "" {
				lines = append(lines, kind+" /"+e.Path)
			}
		case e.Link != "" && t.program(e):
			lines = append(lines, "link /"+e.Path+" -> "+e.Link)
		}
	}

	return lines, nil
}

// program tells whether a link points to a program, as those of multi-call programs do.
func (t *Tree) program(e Entry) bool {
	place := e.Link
	if !path.IsAbs(place) {
		place = path.Join(path.Dir(e.Path), place)
	}

	target, ok := t.entries[clean(place)]

	return ok && target.Mode.IsRegular() && target.Mode&0o111 != 0
}

func (e Entry) kind() (string, error) {
	content, _, err := e.Open()
	if err != nil {
		return "", err
	}
	defer content.Close() // only read

	var head [18]byte

	n, err := io.ReadFull(content, head[:])
	if err != nil && n == 0 && !errors.Is(err, io.EOF) {
		return "", err
	}

	start := head[:n]

	switch {
	case bytes.HasPrefix(start, []byte("#!")):
		return "script", nil
	case bytes.HasPrefix(start, []byte(elf.ELFMAG)) && e.Mode&0o111 != 0:
		return "program", nil
	case bytes.HasPrefix(start, []byte(elf.ELFMAG)) && !relocatable(start):
		return "library", nil
	case e.Mode&0o111 != 0:
		return "unknown", nil
	}

	return "", nil
}

// relocatable tells kernel modules, which only the kernel links, by the type in the header. Our architectures are
// little-endian.
func relocatable(header []byte) bool {
	return len(header) == 18 && elf.Type(binary.LittleEndian.Uint16(header[16:])) == elf.ET_REL
}
