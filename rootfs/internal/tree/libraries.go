package tree

import (
	"bytes"
	"debug/elf"
	"fmt"
	"io"
	"path"
	"slices"
)

// Missing names the libraries and interpreters that files of the image ask for and that it does not have in usr/lib.
func (t *Tree) Missing() ([]string, error) {
	var missing []string

	for _, e := range t.Entries() {
		if !e.Mode.IsRegular() || path.Ext(e.Path) == ".ko" {
			continue
		}

		kind, err := e.kind()
		if err != nil {
			return nil, fmt.Errorf("look at %s: %w", e.Path, err)
		}

		if kind != "program" && kind != "library" {
			continue
		}

		wanted, err := e.wants()
		if err != nil {
			return nil, fmt.Errorf("read the dynamic section of %s: %w", e.Path, err)
		}

		for _, name := range wanted {
			if _, ok := t.entries["usr/lib/"+name]; !ok {
				missing = append(missing, name+" (for /"+e.Path+")")
			}
		}
	}

	slices.Sort(missing)

	return missing, nil
}

func (e Entry) wants() ([]string, error) {
	content, _, err := e.Open()
	if err != nil {
		return nil, err
	}
	defer content.Close() // only read

	at, ok := content.(io.ReaderAt)
	if !ok {
		data, err := io.ReadAll(content)
		if err != nil {
			return nil, err
		}

		at = bytes.NewReader(data)
	}

	file, err := elf.NewFile(at)
	if err != nil {
		return nil, err
	}

	names, err := file.ImportedLibraries()
	if err != nil {
		return nil, err
	}

	for _, p := range file.Progs {
		if p.Type == elf.PT_INTERP {
			interpreter, err := io.ReadAll(p.Open())
			if err != nil {
				return nil, err
			}

			names = append(names, path.Base(string(bytes.TrimRight(interpreter, "\x00"))))
		}
	}

	return names, nil
}
