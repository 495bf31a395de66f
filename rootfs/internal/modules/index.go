package modules

import (
	"bytes"
	"fmt"
	"slices"
)

// Index gives the files that depmod would write for these modules: modules.dep, modules.alias and modules.softdep,
// as modules.dep(5) has them. A dependency is loaded from the last to the first.
func (s *Set) Index(list []Module) (map[string][]byte, error) {
	var dep, alias, softdep bytes.Buffer

	for _, m := range list {
		needed, err := s.needed(m)
		if err != nil {
			return nil, err
		}

		fmt.Fprintf(&dep, "%s:", m.Path)

		for _, n := range slices.Backward(needed) {
			fmt.Fprintf(&dep, " %s", n.Path)
		}

		fmt.Fprintln(&dep)

		for _, a := range m.Aliases {
			fmt.Fprintf(&alias, "alias %s %s\n", a, m.Name)
		}

		for _, d := range m.Softdeps {
			fmt.Fprintf(&softdep, "softdep %s %s\n", m.Name, d)
		}
	}

	return map[string][]byte{
		"modules.dep": dep.Bytes(), "modules.alias": alias.Bytes(), "modules.softdep": softdep.Bytes(),
	}, nil
}

// needed gives what a module depends on for its symbols, in the order of loading.
func (s *Set) needed(m Module) ([]Module, error) {
	hard := &Set{modules: map[string]Module{}}

	for name, other := range s.modules {
		other.Before = nil
		hard.modules[name] = other
	}

	list, err := hard.Closure(m.Depends)

	return list, err
}
