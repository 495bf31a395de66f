// Package selector evaluates the part of CEL that disk selectors are written in: comparisons, && || !, sums and products,
// and the string methods startsWith, endsWith, contains and the function glob. It is pure.
package selector

import (
	"errors"
	"fmt"
	"path"
	"strings"

	"github.com/dactyl-os/dactyl/proto/bytesize"
)

// Disk is what an expression may ask about; sizes are in bytes.
type Disk struct {
	Path, Model, Serial, Modalias, WWID, BusPath, SubSystem, Transport string

	Size, IOSize, Sector        uint64
	ReadOnly, CDROM, Rotational bool
	// System says whether it is the system disk.
	System bool
}

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
	if _, err := s.Match(Disk{}); err != nil {
		return nil, err
	}

	return s, nil
}

// Match tells whether a disk is selected.
func (s *Selector) Match(d Disk) (bool, error) {
	value, err := s.root(d)
	if err != nil {
		return false, fmt.Errorf("disk selector %q: %w", s.text, err)
	}

	selected, ok := value.(bool)
	if !ok {
		return false, fmt.Errorf("disk selector %q: column 1: it is a %s, not a condition", s.text, kind(value))
	}

	return selected, nil
}

// node evaluates to a string, a uint64 or a bool.
type node func(Disk) (any, error)

// variable gives the accessor of a name.
func variable(name string) (node, error) {
	get := map[string]func(Disk) any{
		"system_disk":      func(d Disk) any { return d.System },
		"disk.size":        func(d Disk) any { return d.Size },
		"disk.io_size":     func(d Disk) any { return d.IOSize },
		"disk.sector_size": func(d Disk) any { return d.Sector },
		"disk.readonly":    func(d Disk) any { return d.ReadOnly },
		"disk.cdrom":       func(d Disk) any { return d.CDROM },
		"disk.rotational":  func(d Disk) any { return d.Rotational },
		"disk.model":       func(d Disk) any { return d.Model },
		"disk.serial":      func(d Disk) any { return d.Serial },
		"disk.modalias":    func(d Disk) any { return d.Modalias },
		"disk.wwid":        func(d Disk) any { return d.WWID },
		"disk.bus_path":    func(d Disk) any { return d.BusPath },
		"disk.sub_system":  func(d Disk) any { return d.SubSystem },
		"disk.transport":   func(d Disk) any { return d.Transport },
		"disk.dev_path":    func(d Disk) any { return d.Path },
	}[name]

	if get != nil {
		return func(d Disk) (any, error) { return get(d), nil }, nil
	}

	if size, known := bytesize.Unit(name); known {
		return constant(size), nil
	}

	return nil, fmt.Errorf("unknown name %q", name)
}

func constant(v any) node { return func(Disk) (any, error) { return v, nil } }

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

// binary evaluates both sides, so that types are checked whatever the values are. It stands at a column.
func binary(op string, at int, left, right node) node {
	return func(d Disk) (any, error) {
		a, errA := left(d)
		b, errB := right(d)

		if err := errors.Join(errA, errB); err != nil {
			return nil, err
		}

		value, err := apply(op, a, b)
		if err != nil {
			err = fmt.Errorf("column %d: %w", at, err)
		}

		return value, err
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
