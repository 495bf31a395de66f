package patch

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v4"

	"github.com/dactyl-os/dactyl/proto/config/internal/tree"
)

// operation is one of RFC 6902. It works on YAML nodes, so order and comments of the configuration stay.
type operation struct {
	op, path, from string
	value          *yaml.Node
	line           int
}

func loadOperations(docs []*yaml.Node) ([]operation, error) {
	if len(docs) > 1 {
		return nil, errors.New("read patch: a JSON patch is one document")
	}

	var operations []operation

	for i, node := range docs[0].Content {
		node = tree.Resolve(node)
		o := operation{
			op: tree.Text(node, "op"), path: tree.Text(node, "path"), from: tree.Text(node, "from"), value: tree.Get(node, "value"), line: node.Line,
		}

		if err := o.check(node); err != nil {
			return nil, fmt.Errorf("read patch: operation %d, line %d: %w", i+1, node.Line, err)
		}

		operations = append(operations, o)
	}

	return operations, nil
}

func (o operation) check(node *yaml.Node) error {
	if node.Kind != yaml.MappingNode {
		return errors.New("not an operation: it has op and path")
	}

	given := map[string]bool{}

	for _, pair := range tree.Pairs(node) {
		if given[pair.Key.Value] {
			return fmt.Errorf("%q is written twice", pair.Key.Value)
		}

		given[pair.Key.Value] = true
	}

	needs := map[string]string{"add": "value", "replace": "value", "test": "value", "move": "from", "copy": "from", "remove": "path"}[o.op]

	switch {
	case needs == "":
		return fmt.Errorf("op %q is not one of add, remove, replace, move, copy, test", o.op)
	case tree.Get(node, "path") == nil:
		return fmt.Errorf("%s without path", o.op)
	case tree.Get(node, needs) == nil:
		return fmt.Errorf("%s without %s", o.op, needs)
	case o.path != "" && !strings.HasPrefix(o.path, "/"):
		return fmt.Errorf("path %q does not begin with a slash", o.path)
	}

	return nil
}

func applyOperations(docs []*yaml.Node, operations []operation) error {
	if len(docs) != 1 {
		return fmt.Errorf("a JSON patch needs a configuration of one document, this one has %d: use a strategic merge patch", len(docs))
	}

	for i, o := range operations {
		root, err := o.apply(docs[0])
		if err != nil {
			return fmt.Errorf("operation %d (%s %s): %w", i+1, o.op, o.path, err)
		}

		docs[0] = root
	}

	return nil
}

func (o operation) apply(root *yaml.Node) (*yaml.Node, error) {
	switch o.op {
	case "add":
		return add(root, o.path, tree.Expand(o.value))
	case "remove":
		return root, remove(root, o.path)
	case "replace":
		return replace(root, o.path, tree.Expand(o.value))
	case "test":
		return root, o.test(root)
	}

	source, err := lookup(root, o.from)
	if err != nil {
		return nil, fmt.Errorf("from %s: %w", o.from, err)
	}

	source = tree.Expand(source)

	if o.op == "move" {
		if o.path == o.from {
			return root, nil
		}

		if strings.HasPrefix(o.path, o.from+"/") {
			return nil, errors.New("a value cannot be moved into itself")
		}

		if err := remove(root, o.from); err != nil {
			return nil, err
		}
	}

	return add(root, o.path, source)
}

func (o operation) test(root *yaml.Node) error {
	value, err := lookup(root, o.path)
	if err != nil {
		return err
	}

	if tree.Canonical(value) != tree.Canonical(o.value) {
		return errors.New("the value is another one")
	}

	return nil
}

// split parts a JSON pointer (RFC 6901) into the pointer of the parent and the last token.
func split(pointer string) (parent, token string) {
	i := strings.LastIndexByte(pointer, '/')

	return pointer[:max(i, 0)], unescape(pointer[i+1:])
}

func unescape(token string) string {
	return strings.NewReplacer("~1", "/", "~0", "~").Replace(token)
}

func lookup(root *yaml.Node, pointer string) (*yaml.Node, error) {
	if pointer == "" {
		return root, nil
	}

	parent, token, err := parentOf(root, pointer)
	if err != nil {
		return nil, err
	}

	switch parent.Kind {
	case yaml.MappingNode:
		if value := tree.Get(parent, token); value != nil {
			return value, nil
		}
	case yaml.SequenceNode:
		if i, err := index(token, len(parent.Content)-1); err == nil {
			return parent.Content[i], nil
		}
	}

	return nil, fmt.Errorf("there is no %s", pointer)
}

// parentOf gives the mapping or list in which the last part of the pointer is looked up, and that part.
func parentOf(root *yaml.Node, pointer string) (parent *yaml.Node, token string, err error) {
	above, token := split(pointer)
	parent, err = lookup(root, above)

	return parent, token, err
}

func index(token string, last int) (int, error) {
	i, err := strconv.Atoi(token)
	if err != nil || i < 0 || token != strconv.Itoa(i) {
		return 0, fmt.Errorf("%q is not an index of a list", token)
	}

	if i > last {
		return 0, fmt.Errorf("index %d is beyond the end of the list", i)
	}

	return i, nil
}

func add(root *yaml.Node, pointer string, value *yaml.Node) (*yaml.Node, error) {
	if pointer == "" {
		return value, nil
	}

	parent, token, err := parentOf(root, pointer)
	if err != nil {
		return nil, err
	}

	switch parent.Kind {
	case yaml.MappingNode:
		tree.Set(parent, token, value)
	case yaml.SequenceNode:
		i := len(parent.Content)
		if token != "-" {
			if i, err = index(token, i); err != nil {
				return nil, err
			}
		}

		parent.Content = slices.Insert(parent.Content, i, value)
	default:
		above, _ := split(pointer)

		return nil, fmt.Errorf("%s is neither a mapping nor a list", above)
	}

	parent.Style &^= yaml.FlowStyle

	return root, nil
}

func replace(root *yaml.Node, pointer string, value *yaml.Node) (*yaml.Node, error) {
	if pointer == "" {
		return value, nil
	}

	parent, _, err := parentOf(root, pointer)
	if err != nil {
		return nil, err
	}

	// As the contract's clients do, a key that is not there is written; RFC 6902 would refuse it.
	if parent.Kind == yaml.MappingNode {
		return add(root, pointer, value)
	}

	current, err := lookup(root, pointer)
	if err != nil {
		return nil, err
	}

	*current = *value

	return root, nil
}

func remove(root *yaml.Node, pointer string) error {
	if _, err := lookup(root, pointer); err != nil {
		return err
	}

	if pointer == "" {
		return errors.New("the whole document cannot be removed")
	}

	parent, token, err := parentOf(root, pointer)
	if err != nil {
		return err
	}

	if parent.Kind == yaml.MappingNode {
		tree.Delete(parent, token)

		return nil
	}

	i, err := index(token, len(parent.Content)-1)
	if err != nil {
		return err
	}

	parent.Content = slices.Delete(parent.Content, i, i+1)

	return nil
}
