// Package tree decodes YAML nodes into Go types by reflection, keeping the path and line of everything it dislikes.
package tree

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"

	"go.yaml.in/yaml/v4"
)

// Limits of one stream: far above any real configuration, low enough that a hostile one costs milliseconds.
const (
	MaxBytes = 4 << 20
	MaxDepth = 100
	MaxNodes = 200_000
)

// Parse reads every document of a stream and checks the limits. Empty documents are left out.
func Parse(data []byte) ([]*yaml.Node, error) {
	if len(data) > MaxBytes {
		return nil, fmt.Errorf("%d bytes are more than the %d MiB that are read", len(data), MaxBytes>>20)
	}

	if line := deepLine(data); line > 0 {
		return nil, fmt.Errorf("line %d: nested deeper than %d levels", line, MaxDepth)
	}

	var docs []*yaml.Node

	budget := MaxNodes

	for decoder := yaml.NewDecoder(bytes.NewReader(data)); ; {
		var doc yaml.Node

		switch err := decoder.Decode(&doc); {
		case errors.Is(err, io.EOF):
			return docs, nil
		case err != nil:
			return nil, notYAML(err)
		}

		if len(doc.Content) == 0 || IsNull(doc.Content[0]) {
			continue
		}

		if err := measure(doc.Content[0], 1, &budget); err != nil {
			return nil, err
		}

		// A comment above it that stands apart from the document goes with it.
		if doc.Content[0].HeadComment == "" {
			doc.Content[0].HeadComment = doc.HeadComment
		}

		docs = append(docs, doc.Content[0])
	}
}

func notYAML(err error) error {
	text := strings.TrimPrefix(err.Error(), "yaml: ")
	if strings.Contains(text, "cannot start any token") {
		text += " (hint: YAML is indented with spaces, never with tabs)"
	}

	return errors.New("not YAML: " + text)
}

// deepLine finds runs of opening brackets and dashes that no parser need see; 0 means none.
func deepLine(data []byte) int {
	line, open := 1, 0

	for _, c := range data {
		switch c {
		case '\n':
			line++
			open = 0
		case '[', '{', '-':
			if open++; open > 2*MaxDepth {
				return line
			}
		case ' ', '\t':
		default:
			open = 0
		}
	}

	return 0
}

// measure walks as a decoder would, aliases followed, so that a bomb of aliases is found before it is built.
func measure(node *yaml.Node, depth int, budget *int) error {
	if depth > MaxDepth {
		return fmt.Errorf("line %d: nested deeper than %d levels", node.Line, MaxDepth)
	}

	if *budget--; *budget < 0 {
		return fmt.Errorf("line %d: more than %d values (aliases count each time they are used)", node.Line, MaxNodes)
	}

	if node.Kind == yaml.AliasNode {
		return measure(node.Alias, depth+1, budget)
	}

	for _, child := range node.Content {
		if err := measure(child, depth+1, budget); err != nil {
			return err
		}
	}

	return nil
}

// Resolve follows an alias.
func Resolve(node *yaml.Node) *yaml.Node {
	for node.Kind == yaml.AliasNode {
		node = node.Alias
	}

	return node
}

// IsNull tells an absent value: null, ~ or nothing.
func IsNull(node *yaml.Node) bool {
	return node.Kind == yaml.ScalarNode && node.ShortTag() == "!!null"
}

// Pair is a key and its value in a mapping.
type Pair struct{ Key, Value *yaml.Node }

// Pairs lists a mapping's pairs, merge keys (<<) resolved; keys written in the mapping itself win.
func Pairs(node *yaml.Node) []Pair {
	pairs := make([]Pair, 0, len(node.Content)/2)

	var merged []Pair

	for i := 0; i+1 < len(node.Content); i += 2 {
		if key, value := node.Content[i], node.Content[i+1]; key.ShortTag() == "!!merge" {
			merged = append(merged, mergedPairs(Resolve(value))...)
		} else {
			pairs = append(pairs, Pair{key, value})
		}
	}

	if merged == nil {
		return pairs
	}

	seen := map[string]bool{}
	for _, pair := range pairs {
		seen[pair.Key.Value] = true
	}

	for _, pair := range merged {
		if !seen[pair.Key.Value] {
			seen[pair.Key.Value] = true
			pairs = append(pairs, pair)
		}
	}

	return pairs
}

func mergedPairs(value *yaml.Node) []Pair {
	if value.Kind == yaml.MappingNode {
		return Pairs(value)
	}

	var pairs []Pair

	for _, element := range value.Content {
		if element = Resolve(element); element.Kind == yaml.MappingNode {
			pairs = append(pairs, Pairs(element)...)
		}
	}

	return pairs
}

// Get returns the value of a key in a mapping, nil if there is none.
func Get(node *yaml.Node, key string) *yaml.Node {
	if node == nil || node.Kind != yaml.MappingNode {
		return nil
	}

	merges := false

	for i := 0; i+1 < len(node.Content); i += 2 {
		if node.Content[i].Value == key {
			return Resolve(node.Content[i+1])
		}

		merges = merges || node.Content[i].Value == "<<"
	}

	if !merges {
		return nil
	}

	for _, pair := range Pairs(node) {
		if pair.Key.Value == key {
			return Resolve(pair.Value)
		}
	}

	return nil
}

// Text returns the scalar value of a key in a mapping, "" if there is none.
func Text(node *yaml.Node, key string) string {
	if value := Get(node, key); value != nil && value.Kind == yaml.ScalarNode {
		return value.Value
	}

	return ""
}
