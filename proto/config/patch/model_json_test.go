package patch_test

import (
	"maps"
	"reflect"
	"slices"
	"strconv"
)

// operation is one of a JSON patch, on values as YAML gives them.
type operation struct {
	Op    string   `yaml:"op"`
	Path  string   `yaml:"path"`
	From  string   `yaml:"from,omitempty"`
	Value any      `yaml:"value"`
	path  []string `yaml:"-"`
	from  []string `yaml:"-"`
}

// apply is RFC 6902 but for one rule of the contract: replace writes a key that is not there. False is a refusal.
func (o operation) apply(root any) (any, bool) {
	switch o.Op {
	case "add":
		return edit(root, o.path, put(o.Value))
	case "replace":
		return edit(root, o.path, exchange(o.Value))
	case "remove":
		return edit(root, o.path, drop)
	case "test":
		value, ok := lookup(root, o.path)

		return root, ok && reflect.DeepEqual(value, o.Value)
	}

	value, ok := lookup(root, o.from)
	if !ok {
		return nil, false
	}

	if o.Op == "move" {
		if slices.Equal(o.path, o.from) {
			return root, true
		}

		if len(o.path) > len(o.from) && slices.Equal(o.path[:len(o.from)], o.from) {
			return nil, false
		}

		root, _ = edit(root, o.from, drop)
	}

	return edit(root, o.path, put(value))
}

func lookup(v any, path []string) (any, bool) {
	for _, key := range path {
		switch container := v.(type) {
		case map[string]any:
			var ok bool
			if v, ok = container[key]; !ok {
				return nil, false
			}
		case []any:
			i, ok := place(key, len(container)-1)
			if !ok {
				return nil, false
			}

			v = container[i]
		default:
			return nil, false
		}
	}

	return v, true
}

// edit gives v changed at a path; what is on the way is copied.
func edit(v any, path []string, change func(container any, key string) (any, bool)) (any, bool) {
	if len(path) == 1 {
		return change(v, path[0])
	}

	inner, ok := lookup(v, path[:1])
	if !ok {
		return nil, false
	}

	if inner, ok = edit(inner, path[1:], change); !ok {
		return nil, false
	}

	return exchange(inner)(v, path[0])
}

func put(value any) func(any, string) (any, bool) {
	return func(container any, key string) (any, bool) {
		switch c := container.(type) {
		case map[string]any:
			return exchange(value)(container, key)
		case []any:
			i, ok := len(c), true
			if key != "-" {
				i, ok = place(key, len(c))
			}

			if !ok {
				return nil, false
			}

			return slices.Insert(slices.Clone(c), i, value), true
		default:
			return nil, false
		}
	}
}

func exchange(value any) func(any, string) (any, bool) {
	return func(container any, key string) (any, bool) {
		switch c := container.(type) {
		case map[string]any:
			c = maps.Clone(c)
			c[key] = value

			return c, true
		case []any:
			i, ok := place(key, len(c)-1)
			if !ok {
				return nil, false
			}

			c = slices.Clone(c)
			c[i] = value

			return c, true
		default:
			return nil, false
		}
	}
}

func drop(container any, key string) (any, bool) {
	if _, ok := lookup(container, []string{key}); !ok {
		return nil, false
	}

	switch c := container.(type) {
	case map[string]any:
		c = maps.Clone(c)
		delete(c, key)

		return c, true
	default:
		i, _ := strconv.Atoi(key)

		return slices.Delete(slices.Clone(c.([]any)), i, i+1), true //nolint:forcetypeassert // it has the key
	}
}

func place(key string, last int) (int, bool) {
	i, err := strconv.Atoi(key)

	return i, err == nil && i >= 0 && i <= last && strconv.Itoa(i) == key
}
