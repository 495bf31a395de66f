package patch

import (
	"fmt"
	"reflect"
	"slices"
	"strings"

	"go.yaml.in/yaml/v4"

	"github.com/dactyl-os/dactyl/proto/config"
	"github.com/dactyl-os/dactyl/proto/config/internal/tree"
)

const directive = "$patch"

// mergeDocuments merges each document of a patch into the one of the same kind and name, or adds it.
func mergeDocuments(docs, patches []*yaml.Node) ([]*yaml.Node, error) {
	docs = slices.Clone(docs)

	for _, patch := range patches {
		patch = tree.Expand(patch)
		id := identity(patch)
		i := slices.IndexFunc(docs, func(doc *yaml.Node) bool { return identity(doc) == id })

		remove, err := deletes(patch, nil)

		switch {
		case err != nil:
			return nil, err
		case remove && i < 0:
			return nil, fmt.Errorf("delete document %s: there is none", id)
		case remove:
			docs = slices.Delete(docs, i, i+1)

			continue
		case i < 0:
			docs = append(docs, &yaml.Node{Kind: yaml.MappingNode, Tag: "!!map"})
			i = len(docs) - 1
		}

		schema, _ := config.SchemaOf(config.KindOf(patch))

		if docs[i], err = merge(docs[i], patch, schema, "", nil); err != nil {
			return nil, err
		}
	}

	return docs, nil
}

func identity(doc *yaml.Node) string {
	kind := config.KindOf(doc)
	if kind == "" {
		return "v1alpha1"
	}

	return strings.TrimSpace(kind + " " + tree.Text(doc, "name"))
}

// deletes reads the directive of a mapping.
func deletes(node *yaml.Node, path *tree.Path) (bool, error) {
	value := tree.Get(node, directive)
	if value == nil {
		return false, nil
	}

	if value.Value != "delete" {
		return false, fmt.Errorf("line %d: %s: %q is not known, it is delete", value.Line, path.Key(directive), value.Value)
	}

	return true, nil
}

// merge returns base changed by patch; base may be changed in place.
func merge(base, patch *yaml.Node, t reflect.Type, tag reflect.StructTag, path *tree.Path) (*yaml.Node, error) {
	switch {
	case tree.IsNull(patch):
		return base, nil
	case patch.Kind == yaml.MappingNode && base.Kind == yaml.MappingNode && tag.Get("merge") != "replace":
		return base, mergeMapping(base, patch, t, path)
	case patch.Kind == yaml.SequenceNode && base.Kind == yaml.SequenceNode && tag.Get("merge") != "replace":
		return base, mergeList(base, patch, t, tag, path)
	case patch.Kind == yaml.MappingNode:
		// Goes through a merge all the same, so that a directive in it is refused or heard.
		fresh := &yaml.Node{Kind: yaml.MappingNode, Tag: "!!map"}

		return fresh, mergeMapping(fresh, patch, t, path)
	case patch.Kind == yaml.SequenceNode:
		fresh := &yaml.Node{Kind: yaml.SequenceNode, Tag: "!!seq"}

		return fresh, mergeList(fresh, patch, t, tag, path)
	default:
		return patch, nil
	}
}

func mergeMapping(base, patch *yaml.Node, t reflect.Type, path *tree.Path) error {
	for _, pair := range tree.Pairs(patch) {
		key := pair.Key.Value
		at := path.Key(key)

		remove, err := deletes(pair.Value, at)
		if err != nil {
			return err
		}

		if remove {
			if !tree.Delete(base, key) {
				return fmt.Errorf("delete %s: there is none", at)
			}

			continue
		}

		current := tree.Get(base, key)
		if current == nil {
			current = &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!null"}
			if tree.IsNull(pair.Value) {
				if !hasFields(t) {
					tree.Set(base, key, pair.Value) // in a map a key counts without a value
				}

				continue
			}
		}

		child, tag := tree.Child(t, key)

		if !isSet(pair.Value, child) && !tree.IsNull(current) {
			continue
		}

		merged, err := merge(current, pair.Value, child, tag, at)
		if err != nil {
			return err
		}

		tree.Set(base, key, merged)
	}

	if len(base.Content) > 0 {
		base.Style &^= yaml.FlowStyle
	}

	return nil
}

// isSet tells a value that a patch sets from the empty text or zero of a field that has no pointer: by the contract's rules that
// is as if it were not written. Switches can be set to false.
func isSet(node *yaml.Node, t reflect.Type) bool {
	if t == nil || node.Kind != yaml.ScalarNode || t.Kind() == reflect.Bool || t.Kind() == reflect.Pointer || t.Kind() == reflect.Interface {
		return true
	}

	value := typed(node, t)

	return !value.IsZero() && (t.Kind() != reflect.Slice || value.Len() > 0)
}

// typed is a node as a typed reader has it; it loaded before.
func typed(node *yaml.Node, t reflect.Type) reflect.Value {
	value := reflect.New(t).Elem()
	decoder := tree.Decoder{Report: func(*tree.Path, int, string, string) {}, Ignore: directive}
	decoder.Decode(node, value, nil)

	return value
}

func hasFields(t reflect.Type) bool {
	t = tree.Indirect(t)

	return t != nil && t.Kind() == reflect.Struct
}

// mergeList appends the patch's elements, or merges them into those of the same identity where the schema names one.
func mergeList(base, patch *yaml.Node, t reflect.Type, tag reflect.StructTag, path *tree.Path) error {
	keys, byKey := strings.CutPrefix(tag.Get("merge"), "key=")
	element, _ := tree.Child(t, "")

	for i, item := range patch.Content {
		at := path.Index(i)

		remove, err := deletes(item, at)
		if err != nil {
			return err
		}

		if remove {
			if err := deleteElements(base, item, at); err != nil {
				return err
			}

			continue
		}

		found := -1
		if byKey {
			found = slices.IndexFunc(base.Content, func(n *yaml.Node) bool { return sameElement(n, item, element, strings.Split(keys, ",")) })
		}

		if found < 0 {
			base.Content = append(base.Content, &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!null"})
			found = len(base.Content) - 1
		}

		if base.Content[found], err = merge(base.Content[found], item, element, "", at); err != nil {
			return err
		}
	}

	if len(base.Content) > 0 {
		base.Style &^= yaml.FlowStyle
	}

	return nil
}

// sameElement compares two elements of a list by the first of the keys that says the same in both; an empty one says nothing.
func sameElement(a, b *yaml.Node, t reflect.Type, keys []string) bool {
	for _, key := range keys {
		x, y := tree.Get(a, key), tree.Get(b, key)
		if x == nil || y == nil {
			continue
		}

		child, _ := tree.Child(t, key)

		value := typed(x, child)
		if !value.IsZero() && reflect.DeepEqual(value.Interface(), typed(y, child).Interface()) {
			return true
		}
	}

	return false
}

// deleteElements removes the elements that have all the values which the patch names beside the directive.
func deleteElements(base, pattern *yaml.Node, path *tree.Path) error {
	before := len(base.Content)

	base.Content = slices.DeleteFunc(base.Content, func(element *yaml.Node) bool {
		for _, pair := range tree.Pairs(pattern) {
			if pair.Key.Value == directive {
				continue
			}

			value := tree.Get(element, pair.Key.Value)
			if value == nil || tree.Canonical(value) != tree.Canonical(pair.Value) {
				return false
			}
		}

		return true
	})

	if len(base.Content) == before {
		return fmt.Errorf("delete %s: no element has these values", path)
	}

	return nil
}
