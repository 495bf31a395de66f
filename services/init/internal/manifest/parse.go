package manifest

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"go.yaml.in/yaml/v4"
)

// keys are the known keys of a manifest; anything else is refused.
func keys() []string {
	return []string{
		"name", "command", "needs", "user", "capabilities", "memory", "restart", "aliases", "listen", "conditions", "env", "stop",
		"socket", "ready", "health", "hang", "kill", "delegate", "no_new_privs", "defines", "grants", "keep", "root", "owns", "adopts", "reads", "writes",
		"where", "machine",
	}
}

// parts are the keys below those keys that hold mappings of known keys.
func parts() map[string][]string {
	return map[string][]string{
		"machine": {"after", "capabilities", "needs", "env"}, "ready": probeKeys(), "health": probeKeys(),
	}
}

// Parse reads one manifest. Errors start with "FILE:LINE:".
func Parse(file string, data []byte) (Manifest, error) {
	var root yaml.Node
	if err := yaml.Unmarshal(data, &root); err != nil {
		return Manifest{}, fmt.Errorf("%s: not YAML: %w", file, err)
	}

	if root.Kind != yaml.DocumentNode || len(root.Content) != 1 || root.Content[0].Kind != yaml.MappingNode {
		return Manifest{}, fmt.Errorf("%s:1: a manifest is one mapping of keys", file)
	}

	body := root.Content[0]

	at, err := lines(file, body, keys())
	if err != nil {
		return Manifest{}, err
	}

	for i, key := range body.Content {
		if known := parts()[key.Value]; i%2 == 0 && known != nil && body.Content[i+1].Kind == yaml.MappingNode {
			if _, err := lines(file, body.Content[i+1], known); err != nil {
				return Manifest{}, err
			}
		}
	}

	var doc Document
	if err := body.Decode(&doc); err != nil {
		return Manifest{}, fmt.Errorf("%s: %w", file, err)
	}

	return doc.Manifest(func(key, format string, args ...any) error {
		return fmt.Errorf("%s:%d: %s: %s", file, max(at[key], 1), key, fmt.Sprintf(format, args...))
	})
}

// lines gives the line of each key and refuses unknown and repeated ones.
func lines(file string, body *yaml.Node, known []string) (map[string]int, error) {
	var errs []error

	at := map[string]int{}

	for i := 0; i+1 < len(body.Content); i += 2 {
		key := body.Content[i]

		if !slices.Contains(known, key.Value) {
			errs = append(errs, fmt.Errorf("%s:%d: unknown key %q (known: %s)", file, key.Line, key.Value, strings.Join(known, ", ")))
		}

		if first, again := at[key.Value]; again {
			errs = append(errs, fmt.Errorf("%s:%d: key %q is already on line %d", file, key.Line, key.Value, first))
		}

		at[key.Value] = key.Line
	}

	return at, errors.Join(errs...)
}
