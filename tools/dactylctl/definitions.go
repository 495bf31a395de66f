package main

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/cosi-project/runtime/pkg/resource"
	"github.com/cosi-project/runtime/pkg/resource/meta"
	"github.com/cosi-project/runtime/pkg/state"
	"go.yaml.in/yaml/v4"

	"github.com/dactyl-os/dactyl/tools/internal/client"
)

// definition is what a node says about a resource type.
type definition struct {
	Type             string             `yaml:"type"`
	DisplayType      string             `yaml:"displayType"`
	DefaultNamespace string             `yaml:"defaultNamespace"`
	Aliases          []string           `yaml:"aliases"`
	AllAliases       []string           `yaml:"allAliases"`
	PrintColumns     []meta.PrintColumn `yaml:"printColumns"`
	Sensitivity      string             `yaml:"sensitivity"`
}

func (d definition) id() string { return strings.ToLower(d.Type) }

func rawList() state.ListOption {
	return state.WithListUnmarshalOptions(state.WithSkipProtobufUnmarshal())
}

// listDefinitions asks a node for the types it knows; ctx names the node.
func listDefinitions(ctx context.Context, c *client.Client) ([]definition, error) {
	list, err := c.State.List(ctx, resource.NewMetadata(meta.NamespaceName, meta.ResourceDefinitionType, "", resource.VersionUndefined), rawList())
	if err != nil {
		return nil, err
	}
	out := make([]definition, len(list.Items))
	for i, r := range list.Items {
		text, err := yaml.Marshal(r.Spec())
		if err != nil {
			return nil, fmt.Errorf("resource definition %s: %w", r.Metadata().ID(), err)
		}
		if err := yaml.Unmarshal(text, &out[i]); err != nil {
			return nil, fmt.Errorf("resource definition %s: %w", r.Metadata().ID(), err)
		}
	}

	return out, nil
}

// findDefinition looks a type up by its name or any alias.
func findDefinition(definitions []definition, name string) (definition, error) {
	wanted := strings.ToLower(name)
	var found []definition
	for _, d := range definitions {
		if d.id() == wanted {
			return d, nil
		}
		if slices.Contains(d.AllAliases, wanted) {
			found = append(found, d)
		}
	}
	switch len(found) {
	case 1:
		return found[0], nil
	case 0:
		return definition{}, fmt.Errorf("no resource type %q on the node: dactylctl get rd lists them%s", name, similar(definitions, wanted))
	}
	names := make([]string, len(found))
	for i, d := range found {
		names[i] = d.Type
	}
	slices.Sort(names)

	return definition{}, fmt.Errorf("%q may mean %s: use one of these names", name, strings.Join(names, ", "))
}

// similar suggests aliases that begin alike.
func similar(definitions []definition, wanted string) string {
	var names []string
	for _, d := range definitions {
		if len(d.AllAliases) > 0 && len(wanted) > 2 && strings.HasPrefix(d.AllAliases[0], wanted[:3]) {
			names = append(names, d.AllAliases[0])
		}
	}
	if len(names) == 0 {
		return ""
	}
	slices.Sort(names)

	return " (" + strings.Join(names[:min(len(names), 4)], ", ") + ")"
}
