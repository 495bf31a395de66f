package tree

import (
	"bytes"
	"fmt"
	"io"
)

// Executables describes every file that a kernel or a loader could run, one line each: programs, shared libraries and
// scripts, whatever their mode, and links to programs. Kernel modules are not among them.
func (t *Tree) Executables() ([]string, error) {
	var lines []string

	for _, e := range t.Entries() {
		switch {
		case e.Mode.IsRegular():
			kind, err := e.kind()
			if err != nil {
				return nil, fmt.Errorf("look at %s: %w", e.Path, err)
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

// program tells whether a link stays in its directory, as links of multi-call programs do.
func (t *Tree) program(e Entry) bool {
	target, ok := t.entries[clean(parent(e.Path)+"/"+e.Link)]

	return ok && target.Mode.IsRegular() && target.Mode&0o111 != 0
}

func parent(name string) string {
	for i := len(name) - 1; i >= 0; i-- {
		if name[i] == '/' {
			return name[:i]
		}
	}

	return ""
}

func (e Entry) kind() (string, error) {
	content, _, err := e.Open()
	if err != nil {
		return "", err
	}
	defer content.Close() //nolint:errcheck // only read

	var head [4]byte

	n, err := io.ReadFull(content, head[:])
	if err != nil && n == 0 && err != io.EOF {
		return "", err
	}

	start := head[:n]

	switch {
	case bytes.HasPrefix(start, []byte("#!")):
		return "script", nil
	case bytes.Equal(start, []byte("\x7fELF")) && e.Mode&0o111 != 0:
		return "program", nil
	case bytes.Equal(start, []byte("\x7fELF")) && !bytes.HasSuffix([]byte(e.Path), []byte(".ko")):
		return "library", nil
	case e.Mode&0o111 != 0:
		return "unknown", nil
	}

	return "", nil
}
