// Package redact hides the secrets of a machine configuration.
package redact

import (
	"encoding/base64"
	"reflect"
	"regexp"

	"go.yaml.in/yaml/v4"

	"github.com/dactyl-os/dactyl/proto/config"
	"github.com/dactyl-os/dactyl/proto/config/internal/tree"
)

// Mask stands where a secret was; in fields that hold base64, its base64 stands there, so that the result still loads.
const Mask = config.Mask

// Bytes returns the configuration with every secret replaced by [Mask]; all else stays as it is written.
func Bytes(data []byte) ([]byte, error) {
	return Replace(data, func(string) string { return Mask })
}

// Replace is [Bytes] with a mask chosen for each secret.
func Replace(data []byte, mask func(secret string) string) ([]byte, error) {
	parsed, err := config.Parse(data)
	if err != nil {
		return nil, err
	}

	if _, err := parsed.Load(); err != nil {
		return nil, err
	}

	return replace(parsed, mask)
}

// Parsed is [Bytes] of a configuration that is known to load: the schema says what is secret, so a field it does not know would
// be passed over.
func Parsed(parsed config.Tree) ([]byte, error) {
	return replace(parsed, func(string) string { return Mask })
}

// replace changes the text where that is possible; else, as with aliases and folded text, the documents are written anew.
func replace(parsed config.Tree, mask func(secret string) string) ([]byte, error) {
	edits := newEdits(parsed.Bytes())

	for _, doc := range parsed.Documents() {
		secrets(doc, func(node *yaml.Node, t reflect.Type, kind string) {
			if masked := *node; hide(&masked, t, kind, mask) {
				edits.put(node, masked.Value)
			}
		})
	}

	if text, ok := edits.apply(); ok {
		return text, nil
	}

	var docs []*yaml.Node

	for _, doc := range parsed.Documents() {
		doc = tree.Expand(doc)
		secrets(doc, func(node *yaml.Node, t reflect.Type, kind string) { hide(node, t, kind, mask) })

		docs = append(docs, doc)
	}

	return tree.Encode(docs)
}

// secrets visits the fields of a document that hold a secret.
func secrets(doc *yaml.Node, visit func(node *yaml.Node, t reflect.Type, kind string)) {
	schema, _ := config.SchemaOf(config.KindOf(doc))

	tree.Walk(doc, schema, "", nil, func(_ *tree.Path, node *yaml.Node, t reflect.Type, tag reflect.StructTag) {
		if kind := tag.Get("secret"); kind != "" {
			visit(node, t, kind)
		}
	})
}

// Secrets lists the values that Bytes hides.
func Secrets(data []byte) ([]string, error) {
	var all []string

	_, err := Replace(data, func(secret string) string {
		all = append(all, secret)

		return Mask
	})

	return all, err
}

// hide masks the value of a secret field and tells whether there was one.
func hide(node *yaml.Node, t reflect.Type, kind string, mask func(string) string) bool {
	if node.Value == "" || tree.IsNull(node) {
		return false
	}

	switch {
	case kind == "url":
		// The join token is a parameter of the URL, the rest is needed to see where the machine belongs.
		node.Value = joinToken.ReplaceAllStringFunc(node.Value, func(found string) string {
			const name = "jointoken="

			return name + mask(found[len(name):])
		})
	case t == reflect.TypeFor[config.Base64]():
		node.Value, node.Style = base64.StdEncoding.EncodeToString([]byte(mask(node.Value))), 0
	default:
		node.Value, node.Style, node.Tag = mask(node.Value), 0, "!!str"
	}

	return true
}

var joinToken = regexp.MustCompile(`(jointoken=)([^&#]*)`)
