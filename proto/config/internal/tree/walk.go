package tree

import (
	"bytes"
	"fmt"
	"reflect"
	"slices"
	"strings"

	"go.yaml.in/yaml/v4"
)

// Walk visits every scalar that the schema describes, with the tags of its field.
func Walk(node *yaml.Node, t reflect.Type, tag reflect.StructTag, path *Path, visit func(*Path, *yaml.Node, reflect.Type, reflect.StructTag)) {
	if t == nil {
		return
	}

	switch node = Resolve(node); node.Kind {
	case yaml.MappingNode:
		for _, pair := range Pairs(node) {
			child, childTag := Child(t, pair.Key.Value)
			Walk(pair.Value, child, childTag, path.Key(pair.Key.Value), visit)
		}
	case yaml.SequenceNode:
		child, _ := Child(t, "")
		for i, element := range node.Content {
			Walk(element, child, tag, path.Index(i), visit)
		}
	case yaml.ScalarNode:
		visit(path, node, Indirect(t), tag)
	}
}

// Expand copies a node with all aliases and merge keys written out, so that it can be changed.
func Expand(node *yaml.Node) *yaml.Node {
	node = Resolve(node)
	clone := *node
	clone.Anchor, clone.Alias, clone.Content = "", nil, nil

	if node.Kind == yaml.MappingNode {
		for _, pair := range Pairs(node) {
			clone.Content = append(clone.Content, Expand(pair.Key), Expand(pair.Value))
		}

		return &clone
	}

	for _, child := range node.Content {
		clone.Content = append(clone.Content, Expand(child))
	}

	return &clone
}

// Encode writes documents with an indent of four, as v1.8 does.
func Encode(docs []*yaml.Node) ([]byte, error) {
	var out bytes.Buffer

	encoder := yaml.NewEncoder(&out)
	encoder.SetIndent(4)

	for _, doc := range docs {
		if err := encoder.Encode(doc); err != nil {
			return nil, fmt.Errorf("encode YAML: %w", err)
		}
	}

	if err := encoder.Close(); err != nil {
		return nil, fmt.Errorf("encode YAML: %w", err)
	}

	return out.Bytes(), nil
}

// Canonical is a text that is equal for equal values, whatever their style and order of keys.
func Canonical(node *yaml.Node) string {
	switch node = Resolve(node); node.Kind {
	case yaml.MappingNode:
		var parts []string
		for _, pair := range Pairs(node) {
			parts = append(parts, Canonical(pair.Key)+":"+Canonical(pair.Value))
		}

		slices.Sort(parts)

		return "{" + strings.Join(parts, ",") + "}"
	case yaml.SequenceNode:
		var parts []string
		for _, element := range node.Content {
			parts = append(parts, Canonical(element))
		}

		return "[" + strings.Join(parts, ",") + "]"
	default:
		return canonicalScalar(node)
	}
}

// canonicalScalar writes numbers and null in one of their spellings: 0x10 is 16, and ~ is null.
func canonicalScalar(node *yaml.Node) string {
	tag := node.ShortTag()

	var value any

	switch tag {
	case "!!int", "!!float", "!!null", "!!bool":
		if err := node.Decode(&value); err == nil {
			return fmt.Sprintf("%s %v", tag, value)
		}
	}

	return fmt.Sprintf("%s %q", tag, node.Value)
}

// Set writes a key of a mapping, at the end if it is new.
func Set(node *yaml.Node, key string, value *yaml.Node) {
	for i := 0; i+1 < len(node.Content); i += 2 {
		if node.Content[i].Value == key {
			node.Content[i+1] = value

			return
		}
	}

	node.Content = append(node.Content, &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: key}, value)
}

// Delete removes a key of a mapping and tells whether it was there.
func Delete(node *yaml.Node, key string) bool {
	for i := 0; i+1 < len(node.Content); i += 2 {
		if node.Content[i].Value == key {
			node.Content = slices.Delete(node.Content, i, i+2)

			return true
		}
	}

	return false
}
