// Package diff compares machine configurations for people (a unified diff without secrets) and for programs (paths).
package diff

import (
	"bytes"
	"fmt"
	"slices"
	"strings"

	"github.com/aymanbagabas/go-udiff"
	"go.yaml.in/yaml/v4"

	"github.com/dactyl-os/dactyl/proto/config"
	"github.com/dactyl-os/dactyl/proto/config/internal/tree"
	"github.com/dactyl-os/dactyl/proto/config/redact"
)

// Unified returns the unified diff of two configurations, "" if they say the same. Secrets are masked; one that the old
// configuration does not have is marked as new. The old one may be empty.
func Unified(before, after []byte) (string, error) {
	var known []string

	masked := []byte(nil)

	if len(bytes.TrimSpace(before)) > 0 {
		var err error

		if known, err = redact.Secrets(before); err != nil {
			return "", fmt.Errorf("old configuration: %w", err)
		}

		if masked, err = redact.Bytes(before); err != nil {
			return "", fmt.Errorf("old configuration: %w", err)
		}
	}

	next, err := redact.Replace(after, func(secret string) string {
		if len(known) == 0 || slices.Contains(known, secret) {
			return redact.Mask
		}

		return redact.Mask + " (new value)"
	})
	if err != nil {
		return "", fmt.Errorf("new configuration: %w", err)
	}

	return udiff.Unified("old", "new", string(masked), string(next)), nil
}

// Change is a value that differs between two configurations.
type Change struct {
	// Document is the kind, with its name if it has one; v1alpha1 for the main document.
	Document string
	// Path is as in errors; empty if the document as a whole came or went.
	Path string
}

// String prints the change's place.
func (c Change) String() string {
	if c.Document == "v1alpha1" {
		return c.Path
	}

	return strings.TrimSuffix(c.Document+": "+c.Path, ": ")
}

// Changes lists what differs, as deep as both sides have mappings; lists are compared as a whole. Comments, order of keys
// and style do not count. Sorted by path.
func Changes(before, after config.Tree) []Change {
	olds, news := index(before), index(after)

	var changes []Change

	for id, doc := range news {
		changes = append(changes, compare(id, olds[id], doc, nil)...)
	}

	for id, doc := range olds {
		if news[id] == nil {
			changes = append(changes, compare(id, doc, nil, nil)...)
		}
	}

	slices.SortFunc(changes, func(a, b Change) int { return strings.Compare(a.Document+"\x00"+a.Path, b.Document+"\x00"+b.Path) })

	return changes
}

func index(documents config.Tree) map[string]*yaml.Node {
	byID := map[string]*yaml.Node{}

	for _, doc := range documents.Documents() {
		id := config.KindOf(doc)
		if id == "" {
			id = "v1alpha1"
		} else if name := tree.Text(doc, "name"); name != "" {
			id += " " + name
		}

		byID[id] = doc
	}

	return byID
}

// compare descends while either side is a mapping, so that a section that came is reported by its fields.
func compare(id string, a, b *yaml.Node, path *tree.Path) []Change {
	mappings := (a == nil || a.Kind == yaml.MappingNode) && (b == nil || b.Kind == yaml.MappingNode)
	if !mappings {
		if a != nil && b != nil && tree.Canonical(a) == tree.Canonical(b) {
			return nil
		}

		return []Change{{Document: id, Path: path.String()}}
	}

	var changes []Change

	for _, key := range keys(a, b) {
		changes = append(changes, compare(id, tree.Get(a, key), tree.Get(b, key), path.Key(key))...)
	}

	// An empty section that came or went.
	if changes == nil && (a == nil || b == nil) {
		changes = []Change{{Document: id, Path: path.String()}}
	}

	return changes
}

func keys(nodes ...*yaml.Node) []string {
	var all []string

	for _, node := range nodes {
		if node == nil {
			continue
		}

		for _, pair := range tree.Pairs(node) {
			if !slices.Contains(all, pair.Key.Value) {
				all = append(all, pair.Key.Value)
			}
		}
	}

	return all
}
