// Package patch changes machine configurations: by strategic merge patches, which look like the part of the
// configuration they change, and by JSON patches (RFC 6902), written in YAML or JSON.
package patch

import (
	"errors"
	"fmt"
	"slices"

	"go.yaml.in/yaml/v4"

	"github.com/dactyl-os/dactyl/proto/config"
	"github.com/dactyl-os/dactyl/proto/config/internal/tree"
)

// Patch is a change of one of the two kinds, or none at all.
type Patch struct {
	merge      []*yaml.Node
	operations []operation
}

// Load reads a patch: a list is a JSON patch, anything else a strategic merge patch, which is held to the schema.
func Load(text string) (Patch, error) {
	docs, err := tree.Parse([]byte(text))

	if err != nil {
		return Patch{}, fmt.Errorf("read patch: %w", err)
	}

	if len(docs) == 0 {
		return Patch{}, nil
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

func (p Patch) changes() bool { return len(p.operations) > 0 || p.merge != nil }

// Apply changes a configuration by the patches in turn. The result loads strictly; whether it is a valid configuration
// is for [config.Config.Validate] to say.
func Apply(data []byte, patches ...Patch) ([]byte, error) {
	if !slices.ContainsFunc(patches, Patch.changes) {
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
		switch {
		case len(p.operations) > 0:
			err = applyOperations(docs, p.operations)
		case p.merge != nil:
			docs, err = mergeDocuments(docs, p.merge)
		}

		if err == nil && len(docs) == 0 {
			err = errors.New("nothing would be left of the configuration (hint: keep one document, or delete the parts of it that are not wanted)")
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
