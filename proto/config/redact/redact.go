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

// Bytes returns the configuration with every secret replaced by [Mask]. It is written anew, comments kept.
func Bytes(data []byte) ([]byte, error) {
	return Replace(data, func(string) string { return Mask })
}

// Replace is [Bytes] with a mask chosen for each secret.
func Replace(data []byte, mask func(secret string) string) ([]byte, error) {
	if _, err := config.Load(data); err != nil {
		return nil, err
	}

	docs, err := tree.Parse(data)
	if err != nil {
		return nil, err
	}

	for i, doc := range docs {
		docs[i] = tree.Expand(doc)
		schema, _ := config.SchemaOf(config.KindOf(doc))
		tree.Walk(docs[i], schema, "", nil, func(_ *tree.Path, node *yaml.Node, t reflect.Type, tag reflect.StructTag) {
			hide(node, t, tag.Get("secret"), mask)
		})
	}

	return tree.Encode(docs)
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

func hide(node *yaml.Node, t reflect.Type, secret string, mask func(string) string) {
	if node.Value == "" || tree.IsNull(node) {
		return
	}

	switch {
	case secret == "url":
		// The join token is a parameter of the URL, the rest is needed to see where the machine belongs.
		node.Value = regexp.MustCompile(`(jointoken=)([^&#]*)`).ReplaceAllStringFunc(node.Value, func(found string) string {
			const name = "jointoken="

			return name + mask(found[len(name):])
		})
	case secret != "" && t == reflect.TypeFor[config.Base64]():
		node.Value, node.Style = base64.StdEncoding.EncodeToString([]byte(mask(node.Value))), 0
	case secret != "":
		node.Value, node.Style, node.Tag = mask(node.Value), 0, "!!str"
	}
}
