// Package modules finds and loads kernel modules: the files of depmod(8) are read into an index (pure), and a Loader puts
// what it names into the kernel.
package modules

import (
	"bufio"
	"io"
	"path"
	"slices"
	"strings"
)

// Index is what the files modules.* of a kernel say.
type Index struct {
	// paths below the kernel's directory, by module.
	paths map[string]string
	// needs of a module, the first to load last, as modules.dep has them.
	needs map[string][]string
	// soft are modules to load before and after another, if they are there.
	before, after map[string][]string
	// aliases by what stands before their first colon or wild card.
	aliases map[string][]alias
	builtin map[string]bool
}

type alias struct{ pattern, module string }

// Files are the files that make an index; each may be missing.
type Files struct{ Dep, Alias, Softdep, Builtin io.Reader }

// Parse reads the files. Lines that make no sense are left out.
func Parse(f Files) *Index {
	x := &Index{
		paths: map[string]string{}, needs: map[string][]string{}, before: map[string][]string{}, after: map[string][]string{},
		aliases: map[string][]alias{}, builtin: map[string]bool{},
	}

	lines(f.Dep, x.dep)
	lines(f.Alias, x.alias)
	lines(f.Softdep, x.softdep)
	lines(f.Builtin, func(line string) { x.builtin[Name(line)] = true })

	return x
}

func lines(r io.Reader, each func(string)) {
	if r == nil {
		return
	}

	scanner := bufio.NewScanner(r)
	scanner.Buffer(nil, 1<<20)

	for scanner.Scan() {
		if line := strings.TrimSpace(scanner.Text()); line != "" && line[0] != '#' {
			each(line)
		}
	}
}

// dep reads "kernel/a.ko: kernel/b.ko kernel/c.ko".
func (x *Index) dep(line string) {
	file, needs, found := strings.Cut(line, ":")
	if !found {
		return
	}

	name := Name(file)
	x.paths[name] = strings.TrimSpace(file)

	for need := range strings.FieldsSeq(needs) {
		x.needs[name] = append(x.needs[name], Name(need))
	}
}

// alias reads "alias pci:v00001AF4d* virtio_pci".
func (x *Index) alias(line string) {
	fields := strings.Fields(line)
	if len(fields) != 3 || fields[0] != "alias" {
		return
	}

	bus := bucket(fields[1])
	x.aliases[bus] = append(x.aliases[bus], alias{fields[1], Name(fields[2])})
}

// bucket is the part of an alias that narrows the search: its bus, or all of it where it has none.
func bucket(text string) string {
	if i := strings.IndexAny(text, ":*?["); i >= 0 {
		return text[:i]
	}

	return text
}

// softdep reads "softdep a pre: b c post: d".
func (x *Index) softdep(line string) {
	fields := strings.Fields(line)
	if len(fields) < 3 || fields[0] != "softdep" {
		return
	}

	name, into := Name(fields[1]), (map[string][]string)(nil)

	for _, field := range fields[2:] {
		switch field {
		case "pre:":
			into = x.before
		case "post:":
			into = x.after
		default:
			if into != nil {
				into[name] = append(into[name], Name(field))
			}
		}
	}
}

// Name of a module as the kernel has it: without directory and suffix, dashes as underscores.
func Name(file string) string {
	name, _, _ := strings.Cut(path.Base(strings.TrimSpace(file)), ".ko")

	return strings.ReplaceAll(name, "-", "_")
}

// Resolve gives the modules for a name or for the alias of a device, in the order of the file; none for what is built in or
// unknown.
func (x *Index) Resolve(text string) []string {
	if name := Name(text); !strings.ContainsAny(text, ":/") && (x.paths[name] != "" || x.builtin[name]) {
		return []string{name}
	}

	var found []string

	for _, candidates := range [][]alias{x.aliases[bucket(text)], x.aliases[""]} {
		for _, a := range candidates {
			if match(a.pattern, text) && !slices.Contains(found, a.module) {
				found = append(found, a.module)
			}
		}
	}

	return found
}

// Known tells whether there is such a module, loadable or built in.
func (x *Index) Known(name string) bool { return x.paths[Name(name)] != "" || x.builtin[Name(name)] }

// Plan gives the modules to load for one, each after what it needs, less those that are loaded or built in.
func (x *Index) Plan(name string, loaded func(string) bool) []string {
	var order []string

	x.visit(Name(name), loaded, map[string]bool{}, &order)

	return order
}

func (x *Index) visit(name string, loaded func(string) bool, seen map[string]bool, order *[]string) {
	if seen[name] || x.paths[name] == "" || loaded(name) {
		return
	}

	seen[name] = true

	for _, need := range slices.Concat(x.before[name], reversed(x.needs[name])) {
		x.visit(need, loaded, seen, order)
	}

	*order = append(*order, name)

	for _, next := range x.after[name] {
		x.visit(next, loaded, seen, order)
	}
}

func reversed(list []string) []string {
	out := slices.Clone(list)
	slices.Reverse(out)

	return out
}

// Path of a module below the kernel's directory.
func (x *Index) Path(name string) (string, bool) {
	p := x.paths[Name(name)]

	return p, p != ""
}
