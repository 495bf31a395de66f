// Package tree holds the files of an image before they are packed: sorted, owned by root, without times of their own.
package tree

import (
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
)

// Entry is a file, directory, link or character device of an image.
type Entry struct {
	// Path has no leading slash: "usr/bin/init".
	Path string
	// Mode has the permissions and the type: directory, link, character device or file.
	Mode fs.FileMode
	// Link is what a link points to.
	Link string
	// Source names a file of the building machine with the content; without it the content is Data.
	Source string
	Data   []byte
	// Major and Minor of a character device.
	Major, Minor uint32
	// Part is the line of the table of sizes that the entry belongs to.
	Part string
}

// Tree is a set of entries with distinct paths.
type Tree struct {
	entries map[string]Entry
	part    string
}

// New gives a tree with only its root directory.
func New() *Tree {
	return &Tree{entries: map[string]Entry{}}
}

// Part names the part that entries added from now on belong to.
func (t *Tree) Part(name string) { t.part = name }

// Dir adds a directory; parents are added too.
func (t *Tree) Dir(name string, mode fs.FileMode) {
	t.put(Entry{Path: clean(name), Mode: fs.ModeDir | mode})
}

// Link adds a symbolic link.
func (t *Tree) Link(name, target string) {
	t.put(Entry{Path: clean(name), Mode: fs.ModeSymlink | 0o777, Link: target})
}

// File adds a copy of a file of the building machine.
func (t *Tree) File(name, source string, mode fs.FileMode) {
	t.put(Entry{Path: clean(name), Mode: mode, Source: source})
}

// Data adds a file with the given content.
func (t *Tree) Data(name string, data []byte, mode fs.FileMode) {
	t.put(Entry{Path: clean(name), Mode: mode, Data: data})
}

// Copy adds what is in a directory of the building machine: files and links.
func (t *Tree) Copy(name, source string) error {
	return filepath.WalkDir(source, func(file string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}

		place := path.Join(name, strings.TrimPrefix(file, source))

		if d.Type()&fs.ModeSymlink != 0 {
			target, err := os.Readlink(file)
			t.Link(place, target)

			return err
		}

		info, err := d.Info()
		if err != nil {
			return err
		}

		t.File(place, file, info.Mode().Perm())

		return nil
	})
}

// Device adds a character device.
func (t *Tree) Device(name string, mode fs.FileMode, major, minor uint32) {
	t.put(Entry{Path: clean(name), Mode: fs.ModeDevice | fs.ModeCharDevice | mode, Major: major, Minor: minor})
}

// Entries gives all entries sorted by path, so a directory comes before what is in it.
func (t *Tree) Entries() []Entry {
	list := make([]Entry, 0, len(t.entries))
	for _, e := range t.entries {
		list = append(list, e)
	}

	slices.SortFunc(list, func(a, b Entry) int { return strings.Compare(a.Path, b.Path) })

	return list
}

// Only gives the tree of one part, with the directories it needs.
func (t *Tree) Only(part string) *Tree {
	only := New()

	for _, e := range t.entries {
		if e.Part == part {
			only.part = e.Part
			only.put(e)
		}
	}

	return only
}

// Split takes what is below a directory into a tree of its own; the directory stays, empty.
func (t *Tree) Split(dir string) *Tree {
	below := New()

	for name, e := range t.entries {
		rest, ok := strings.CutPrefix(name, clean(dir)+"/")
		if !ok {
			continue
		}

		delete(t.entries, name)

		e.Path = rest
		below.put(e)
	}

	return below
}

func (t *Tree) put(e Entry) {
	if e.Part == "" {
		e.Part = t.part
	}

	for dir := path.Dir(e.Path); dir != "."; dir = path.Dir(dir) {
		if _, ok := t.entries[dir]; !ok {
			t.entries[dir] = Entry{Path: dir, Mode: fs.ModeDir | 0o755}
		}
	}

	t.entries[e.Path] = e
}

func clean(name string) string { return strings.TrimPrefix(path.Clean("/"+name), "/") }

// Open gives the content of a file and its size.
func (e Entry) Open() (io.ReadCloser, int64, error) {
	if e.Source == "" {
		return io.NopCloser(strings.NewReader(string(e.Data))), int64(len(e.Data)), nil
	}

	file, err := os.Open(e.Source)
	if err != nil {
		return nil, 0, err
	}

	info, err := file.Stat()
	if err != nil {
		return nil, 0, err
	}

	if !info.Mode().IsRegular() {
		return nil, 0, fmt.Errorf("%s: not a regular file", e.Source)
	}

	return file, info.Size(), nil
}
