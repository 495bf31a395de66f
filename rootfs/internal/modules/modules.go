// Package modules chooses kernel modules with what they need, and writes the indexes that a loader reads.
package modules

import (
	"debug/elf"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"
)

// Module is one kernel module and what its .modinfo section says.
type Module struct {
	// Name as the kernel shows it, with underscores.
	Name string
	// Path below the directory of the release: kernel/drivers/net/veth.ko.
	Path string
	// Depends and Before are names: what must be loaded for its symbols, and what should be (softdep pre).
	Depends, Before []string
	Aliases         []string
	Softdeps        []string
}

// Set is every module of a kernel package, by name.
type Set struct {
	modules map[string]Module
	paths   map[string]string
}

// Read looks at every module below dir/kernel.
func Read(dir string) (*Set, error) {
	set := &Set{modules: map[string]Module{}, paths: map[string]string{}}

	err := filepath.WalkDir(filepath.Join(dir, "kernel"), func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(path, ".ko") {
			return err
		}

		m, err := read(path)
		if err != nil {
			return fmt.Errorf("read module %s: %w", path, err)
		}

		if m.Path, err = filepath.Rel(dir, path); err != nil {
			return err
		}

		set.add(m)

		return nil
	})

	return set, err
}

func (s *Set) add(m Module) {
	s.modules[m.Name] = m
	s.paths[strings.TrimSuffix(strings.TrimPrefix(m.Path, "kernel/"), ".ko")] = m.Name
}

// Name gives a module's name from its file's.
func Name(file string) string {
	return strings.ReplaceAll(strings.TrimSuffix(filepath.Base(file), ".ko"), "-", "_")
}

func read(path string) (Module, error) {
	file, err := elf.Open(path)
	if err != nil {
		return Module{}, err
	}
	defer file.Close() // only read

	section := file.Section(".modinfo")
	if section == nil {
		return Module{}, fmt.Errorf("no .modinfo section")
	}

	info, err := section.Data()
	if err != nil {
		return Module{}, err
	}

	return parse(Name(path), info), nil
}

// parse reads the zero-separated key=value pairs of .modinfo.
func parse(name string, info []byte) Module {
	m := Module{Name: name}

	for pair := range strings.SplitSeq(string(info), "\x00") {
		key, value, _ := strings.Cut(pair, "=")

		switch key {
		case "depends":
			for dep := range strings.SplitSeq(value, ",") {
				if dep != "" {
					m.Depends = append(m.Depends, Name(dep))
				}
			}
		case "alias":
			m.Aliases = append(m.Aliases, value)
		case "softdep":
			m.Softdeps = append(m.Softdeps, value)
			m.Before = append(m.Before, before(value)...)
		}
	}

	return m
}

// before gives the names after "pre:" in a softdep.
func before(softdep string) []string {
	var names []string

	pre := false

	for word := range strings.FieldsSeq(softdep) {
		switch word {
		case "pre:":
			pre = true
		case "post:":
			pre = false
		default:
			if pre {
				names = append(names, strings.ReplaceAll(word, "-", "_"))
			}
		}
	}

	return names
}

// Closure gives the modules named, with all they depend on, each after what it depends on.
func (s *Set) Closure(names []string) ([]Module, error) {
	var (
		list []Module
		seen = map[string]bool{}
		add  func(name string) error
	)

	add = func(name string) error {
		if seen[name] {
			return nil
		}

		seen[name] = true

		m, ok := s.modules[name]
		if !ok {
			return fmt.Errorf("no module %s", name)
		}

		for _, dep := range m.Before {
			// A softdep can name something built in, or an alias.
			if _, ok := s.modules[dep]; ok {
				if err := add(dep); err != nil {
					return err
				}
			}
		}

		for _, dep := range m.Depends {
			if err := add(dep); err != nil {
				return fmt.Errorf("%s needs: %w", name, err)
			}
		}

		list = append(list, m)

		return nil
	}

	for _, name := range names {
		if err := add(Name(name)); err != nil {
			return nil, err
		}
	}

	return list, nil
}

// Select gives the modules that the patterns choose, with all they depend on, sorted by path. A pattern is a directory
// below kernel/ that ends with "/", or a module's path without .ko; without names starts of paths. A pattern may choose
// nothing: architectures differ.
func (s *Set) Select(patterns, without []string) ([]Module, error) {
	var names []string

	for path, name := range s.paths {
		if chosen(path, patterns) && !slices.ContainsFunc(without, func(w string) bool { return strings.HasPrefix(path, w) }) {
			names = append(names, name)
		}
	}

	slices.Sort(names)

	list, err := s.Closure(names)
	if err != nil {
		return nil, err
	}

	slices.SortFunc(list, func(a, b Module) int { return strings.Compare(a.Path, b.Path) })

	return list, nil
}

func chosen(path string, patterns []string) bool {
	return slices.ContainsFunc(patterns, func(p string) bool {
		return path == p || strings.HasSuffix(p, "/") && strings.HasPrefix(path, p)
	})
}
