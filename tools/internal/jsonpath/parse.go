package jsonpath

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
)

func parseExpression(s string) (part, error) {
	s = strings.TrimSpace(s)
	if len(s) >= 2 && (s[0] == '"' || s[0] == '\'') && s[len(s)-1] == s[0] {
		return part{text: unescape(s[1 : len(s)-1])}, nil
	}
	steps, err := parseSteps(s)

	return part{steps: steps}, err
}

func parseSteps(s string) ([]step, error) {
	steps := []step{} // an empty list is the root itself
	s = strings.TrimPrefix(strings.TrimPrefix(s, "$"), "@")
	for s != "" {
		var (
			next step
			err  error
		)
		switch {
		case strings.HasPrefix(s, ".."):
			var name string
			name, s = word(s[2:])
			if name == "" {
				return nil, errors.New("a name must follow the two dots")
			}
			next = descend(name)
		case s[0] == '.':
			var name string
			name, s = word(s[1:])
			if name == "" {
				continue // "{.}" and ".[0]"
			}
			next = field(name)
		case s[0] == '[':
			end := bracket(s)
			if end < 0 {
				return nil, errors.New("a bracket is not closed")
			}
			next, err = parseBracket(strings.TrimSpace(s[1:end]))
			s = s[end+1:]
		case len(steps) == 0:
			s = "." + s

			continue
		default:
			return nil, fmt.Errorf("cannot read %q", s)
		}
		if err != nil {
			return nil, err
		}
		steps = append(steps, next)
	}

	return steps, nil
}

// word is a field's name; a backslash keeps a dot in it.
func word(s string) (name, rest string) {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		switch {
		case s[i] == '\\' && i+1 < len(s):
			i++
			b.WriteByte(s[i])
		case s[i] == '.' || s[i] == '[':
			return b.String(), s[i:]
		default:
			b.WriteByte(s[i])
		}
	}

	return b.String(), ""
}

func bracket(s string) int {
	depth := 0
	var quote byte
	for i := range len(s) {
		switch c := s[i]; {
		case quote != 0:
			if c == quote {
				quote = 0
			}
		case c == '"' || c == '\'':
			quote = c
		case c == '[':
			depth++
		case c == ']':
			if depth--; depth == 0 {
				return i
			}
		}
	}

	return -1
}

func parseBracket(s string) (step, error) {
	switch {
	case s == "*":
		return children, nil
	case strings.HasPrefix(s, "?(") && strings.HasSuffix(s, ")"):
		return parseFilter(strings.TrimSpace(s[2 : len(s)-1]))
	case len(s) >= 2 && (s[0] == '\'' || s[0] == '"'):
		return field(s[1 : len(s)-1]), nil
	case strings.Contains(s, ":"):
		from, to, _ := strings.Cut(s, ":")

		return parseSlice(from, to)
	}
	n, err := strconv.Atoi(s)
	if err != nil {
		return nil, fmt.Errorf("cannot read [%s]", s)
	}

	return func(v any) []any {
		list, _ := v.([]any)
		i := n
		if i < 0 {
			i += len(list)
		}
		if i < 0 || i >= len(list) {
			return nil
		}

		return []any{list[i]}
	}, nil
}

func parseSlice(from, to string) (step, error) {
	bound := func(s string, fallback int) (int, error) {
		if s == "" {
			return fallback, nil
		}

		return strconv.Atoi(s)
	}
	first, err1 := bound(from, 0)
	last, err2 := bound(to, int(^uint(0)>>1))
	if err := errors.Join(err1, err2); err != nil {
		return nil, fmt.Errorf("cannot read [%s:%s]", from, to)
	}

	return func(v any) []any {
		list, _ := v.([]any)
		low, high := clamp(first, len(list)), clamp(last, len(list))

		return list[low:max(low, high)]
	}, nil
}

func clamp(i, length int) int {
	if i < 0 {
		i += length
	}

	return min(max(i, 0), length)
}

func field(name string) step {
	if name == "*" {
		return children
	}

	return func(v any) []any {
		if m, ok := v.(map[string]any); ok {
			if child, ok := m[name]; ok {
				return []any{child}
			}
		}

		return nil
	}
}

func children(v any) []any {
	switch v := v.(type) {
	case []any:
		return v
	case map[string]any:
		var out []any
		for _, key := range slices.Sorted(maps.Keys(v)) {
			out = append(out, v[key])
		}

		return out
	}

	return nil
}

func descend(name string) step {
	var walk func(v any) []any
	walk = func(v any) []any {
		out := field(name)(v)
		for _, child := range children(v) {
			out = append(out, walk(child)...)
		}

		return out
	}

	return walk
}

// parseFilter reads @.a.b, @.a=="x" and the other comparisons.
func parseFilter(s string) (step, error) {
	for _, operator := range []string{"==", "!=", "<=", ">=", "<", ">"} {
		left, right, found := strings.Cut(s, operator)
		if !found {
			continue
		}
		steps, err := parseSteps(strings.TrimSpace(left))
		if err != nil {
			return nil, err
		}
		want := strings.Trim(strings.TrimSpace(right), `"'`)

		return filter(func(v any) bool {
			found := evaluate(steps, v)

			return len(found) > 0 && compare(operator, Text(found[0]), want)
		}), nil
	}
	steps, err := parseSteps(s)

	return filter(func(v any) bool { return len(evaluate(steps, v)) > 0 }), err
}

func filter(keep func(any) bool) step {
	return func(v any) []any {
		var out []any
		for _, child := range children(v) {
			if keep(child) {
				out = append(out, child)
			}
		}

		return out
	}
}

func compare(operator, left, right string) bool {
	switch operator {
	case "==":
		return left == right
	case "!=":
		return left != right
	}
	a, err1 := strconv.ParseFloat(left, 64)
	b, err2 := strconv.ParseFloat(right, 64)
	if err1 != nil || err2 != nil {
		return false
	}
	switch operator {
	case "<":
		return a < b
	case "<=":
		return a <= b
	case ">":
		return a > b
	default:
		return a >= b
	}
}
