// Package selector evaluates the part of CEL that disk selectors are written in: comparisons, && || !, sums and products,
// and the string methods startsWith, endsWith, contains and the function glob. It is pure.
package selector

import (
	"errors"
	"fmt"
	"path"
	"strings"

	"github.com/dactyl-os/dactyl/proto/bytesize"
	"github.com/dactyl-os/dactyl/services/diskd/internal/disk"
)

// Selector is a parsed expression.
type Selector struct {
	root node
	text string
}

// String gives the expression as it was written.
func (s *Selector) String() string { return s.text }

// Parse reads an expression; what CEL has and this does not is an error that names it.
func Parse(text string) (*Selector, error) {
	tokens, err := scan(text)
	if err != nil {
		return nil, fmt.Errorf("disk selector %q: %w", text, err)
	}

	p := &parser{tokens: tokens}

	root, err := p.or()
	if err == nil && !p.at("") {
		err = fmt.Errorf("unexpected %q", p.take().text)
	}

	if err != nil {
		return nil, fmt.Errorf("disk selector %q: column %d: %w", text, p.column, err)
	}

	s := &Selector{root: root, text: text}

	// Types are checked once here, so that a wrong expression is told when it is read and not when a disk appears.
	if _, err := s.Match(disk.Disk{}, false); err != nil {
		return nil, err
	}

	return s, nil
}

// Match tells whether a disk is selected; system says whether it is the system disk.
func (s *Selector) Match(d disk.Disk, system bool) (bool, error) {
	value, err := s.root(scope{d, system})
	if err != nil {
		return false, fmt.Errorf("disk selector %q: %w", s.text, err)
	}

	selected, ok := value.(bool)
	if !ok {
		return false, fmt.Errorf("disk selector %q: is a %s, not a condition", s.text, kind(value))
	}

	return selected, nil
}

type scope struct {
	disk   disk.Disk
	system bool
}

// node evaluates to a string, a uint64 or a bool.
type node func(scope) (any, error)

// variable gives the accessor of a name.
func variable(name string) (node, error) {
	get := map[string]func(scope) any{
		"system_disk":      func(s scope) any { return s.system },
		"disk.size":        func(s scope) any { return s.disk.Size },
		"disk.io_size":     func(s scope) any { return s.disk.IOSize },
		"disk.sector_size": func(s scope) any { return s.disk.Sector },
		"disk.readonly":    func(s scope) any { return s.disk.ReadOnly },
		"disk.cdrom":       func(s scope) any { return s.disk.CDROM },
		"disk.rotational":  func(s scope) any { return s.disk.Rotational },
		"disk.model":       func(s scope) any { return s.disk.Model },
		"disk.serial":      func(s scope) any { return s.disk.Serial },
		"disk.modalias":    func(s scope) any { return s.disk.Modalias },
		"disk.wwid":        func(s scope) any { return s.disk.WWID },
		"disk.bus_path":    func(s scope) any { return s.disk.BusPath },
		"disk.sub_system":  func(s scope) any { return s.disk.SubSystem },
		"disk.transport":   func(s scope) any { return s.disk.Transport },
		"disk.dev_path":    func(s scope) any { return s.disk.Path },
	}[name]

	if get != nil {
		return func(s scope) (any, error) { return get(s), nil }, nil
	}

	if size, known := bytesize.Unit(name); known {
		return constant(size), nil
	}

	return nil, fmt.Errorf("unknown name %q", name)
}

func constant(v any) node { return func(scope) (any, error) { return v, nil } }

func kind(v any) string {
	switch v.(type) {
	case string:
		return "string"
	case uint64:
		return "number"
	default:
		return "condition"
	}
}

// binary evaluates both sides, so that types are checked whatever the values are.
func binary(op string, left, right node) node {
	return func(s scope) (any, error) {
		a, errA := left(s)
		b, errB := right(s)

		if err := errors.Join(errA, errB); err != nil {
			return nil, err
		}

		return apply(op, a, b)
	}
}

func apply(op string, a, b any) (any, error) {
	switch x := a.(type) {
	case bool:
		if y, ok := b.(bool); ok {
			return onBools(op, x, y)
		}
	case uint64:
		if y, ok := b.(uint64); ok {
			return onNumbers(op, x, y)
		}
	case string:
		if y, ok := b.(string); ok {
			return onStrings(op, x, y)
		}
	}

	return nil, fmt.Errorf("a %s %s a %s", kind(a), op, kind(b))
}

func onBools(op string, a, b bool) (any, error) {
	switch op {
	case "&&":
		return a && b, nil
	case "||":
		return a || b, nil
	case "==":
		return a == b, nil
	case "!=":
		return a != b, nil
	}

	return nil, fmt.Errorf("%s is not for conditions", op)
}

func onNumbers(op string, a, b uint64) (any, error) {
	switch op {
	case "*":
		return a * b, nil
	case "+":
		return a + b, nil
	case "==":
		return a == b, nil
	case "!=":
		return a != b, nil
	case "<":
		return a < b, nil
	case "<=":
		return a <= b, nil
	case ">":
		return a > b, nil
	case ">=":
		return a >= b, nil
	}

	return nil, fmt.Errorf("%s is not for numbers", op)
}

func onStrings(op, a, b string) (any, error) {
	switch op {
	case "==":
		return a == b, nil
	case "!=":
		return a != b, nil
	case "+":
		return a + b, nil
	case "startsWith":
		return strings.HasPrefix(a, b), nil
	case "endsWith":
		return strings.HasSuffix(a, b), nil
	case "contains":
		return strings.Contains(a, b), nil
	case "glob":
		return path.Match(a, b)
	}

	return nil, fmt.Errorf("%s is not for strings", op)
}
