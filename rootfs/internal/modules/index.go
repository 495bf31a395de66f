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

	hard := s.hard()

	for _, m := range list {
		needed, err := hard.Closure(m.Depends)
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

// hard is the set with what modules need for their symbols only.
func (s *Set) hard() *Set {
	hard := &Set{modules: map[string]Module{}}

	for name, m := range s.modules {
		m.Before = nil
		hard.modules[name] = m
	}

	return hard
}
