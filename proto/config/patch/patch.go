// Package patch changes machine configurations: by strategic merge patches, which look like the part of the
// configuration they change, and by JSON patches (RFC 6902), written in YAML or JSON.
package patch

import (
	"errors"
	"fmt"

	"go.yaml.in/yaml/v4"

	"github.com/dactyl-os/dactyl/proto/config"
	"github.com/dactyl-os/dactyl/proto/config/internal/tree"
)

// Patch is a change of one of the two kinds.
type Patch struct {
	merge      []*yaml.Node
	operations []operation
}

// Load reads a patch: a list is a JSON patch, anything else a strategic merge patch, which is held to the schema.
func Load(text string) (Patch, error) {
	docs, err := tree.Parse([]byte(text))

	switch {
	case err != nil:
		return Patch{}, fmt.Errorf("read patch: %w", err)
	case len(docs) == 0:
		return Patch{}, errors.New("read patch: empty")
	}

	if docs[0].Kind == yaml.SequenceNode {
		operations, err := loadOperations(docs)

		return Patch{operations: operations}, err
	}

	if _, err := config.LoadPatch([]byte(text)); err != nil {
		return Patch{}, fmt.Errorf("read patch: %w", err)
	}

	for i, doc := range docs {
		docs[i] = tree.Expand(doc)
	}

	return Patch{merge: docs}, nil
}

// LoadAll reads several patches.
func LoadAll(texts []string) ([]Patch, error) {
	patches := make([]Patch, 0, len(texts))

	for i, text := range texts {
		p, err := Load(text)
		if err != nil {
			return nil, fmt.Errorf("patch %d: %w", i+1, err)
		}

		patches = append(patches, p)
	}

	return patches, nil
}

// Apply changes a configuration by the patches in turn. The result loads strictly; whether it is a valid configuration
// is for [config.Config.Validate] to say.
func Apply(data []byte, patches ...Patch) ([]byte, error) {
	if len(patches) == 0 {
		return data, nil
	}

	docs, err := tree.Parse(data)
	if err != nil {
		return nil, fmt.Errorf("read the configuration to patch: %w", err)
	}

	for i, doc := range docs {
		docs[i] = tree.Expand(doc)
	}

	for i, p := range patches {
		if p.operations != nil {
			err = applyOperations(docs, p.operations)
		} else {
			docs, err = mergeDocuments(docs, p.merge)
		}

		if err != nil {
			return nil, fmt.Errorf("patch %d: %w", i+1, err)
		}
	}

	out, err := tree.Encode(docs)
	if err != nil {
		return nil, err
	}

	if _, err := config.Load(out); err != nil {
		return nil, fmt.Errorf("the patched configuration: %w", err)
	}

	return out, nil
}
