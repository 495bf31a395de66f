package manifest

import (
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"

	"go.yaml.in/yaml/v4"
)

// Capabilities are written as a mapping: beside each stands why the daemon needs it.
type Capabilities []string

// UnmarshalYAML refuses a capability without its reason: a hole in a wall that nobody explains is never closed.
func (c *Capabilities) UnmarshalYAML(node *yaml.Node) error {
	if node.Kind != yaml.MappingNode {
		return errors.New("capabilities are written with their reasons: {net_admin: sets addresses}")
	}

	for i := 0; i+1 < len(node.Content); i += 2 {
		name, reason := node.Content[i], node.Content[i+1]

		if reason.Kind != yaml.ScalarNode || reason.Tag == "!!null" || strings.TrimSpace(reason.Value) == "" {
			return fmt.Errorf("say why the daemon needs the capability %s: {%s: reason}", name.Value, name.Value)
		}

		*c = append(*c, name.Value)
	}

	return nil
}

// Confined tells whether the daemon may open nothing but what its manifest lists.
func (m Manifest) Confined() bool { return m.Reads != nil || m.Writes != nil }

func checkWalls(m Manifest, wrong func(key, format string, args ...any) error) error {
	var errs []error

	for key, paths := range map[string][]string{"owns": m.Owns, "adopts": m.Adopts, "reads": m.Reads, "writes": m.Writes} {
		for _, p := range paths {
			if !path.IsAbs(p) || path.Clean(p) != p {
				errs = append(errs, wrong(key, "%q is not an absolute path without .. and a slash at its end", p))
			}
		}
	}

	if slices.Contains(m.Owns, "/") {
		errs = append(errs, wrong("owns", "a daemon cannot own the root of the file system"))
	}

	if len(m.Adopts) > 0 && len(m.Owns) == 0 {
		errs = append(errs, wrong("adopts", "the daemon owns no directory for it"))
	}

	if m.Root != "" && m.User != 0 {
		errs = append(errs, wrong("root", "the daemon has user %d: it is one or the other", m.User))
	}

	return errors.Join(errs...)
}
