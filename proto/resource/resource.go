// Package resource lists every resource type: who owns it, who may read it,
// and how a client names and prints it.
package resource

import (
	"errors"
	"slices"
	"sync"

	"github.com/cosi-project/runtime/pkg/resource/meta"
	"github.com/cosi-project/runtime/pkg/resource/meta/spec"
)

// Definition says what is known about a type without asking its owner.
type Definition struct {
	Type      string
	Namespace string // default namespace
	Sensitive bool
	Owner     string   // daemon that holds the resources
	Readers   []string // daemons that may read a sensitive type, besides the owner
	Writers   []string // daemons that may write it, besides the owner
	Aliases   []string // besides the ones that follow from the name
	Columns   []Column
}

// Column is a column of `get`.
type Column = spec.PrintColumn

// MayRead says whether a daemon may read the resources unredacted.
func (d Definition) MayRead(daemon string) bool {
	return !d.Sensitive || daemon == d.Owner || slices.Contains(d.Readers, daemon)
}

// Spec is what meta.NewResourceDefinition takes.
func (d Definition) Spec() meta.ResourceDefinitionSpec {
	out := meta.ResourceDefinitionSpec{
		Type:             d.Type,
		DefaultNamespace: d.Namespace,
		Aliases:          slices.Clone(d.Aliases),
		PrintColumns:     slices.Clone(d.Columns),
	}
	if d.Sensitive {
		out.Sensitivity = spec.Sensitive
	}

	return out
}

type entry struct {
	meta.ResourceDefinitionProvider
	owner   string
	readers []string
	writers []string
}

// metaOwner holds the types that describe types.
const metaOwner = "configd"

var all = sync.OnceValue(func() []Definition {
	rows := append(table(),
		entry{meta.NamespaceExtension{}, metaOwner, nil, nil},
		entry{meta.ResourceDefinitionExtension{}, metaOwner, nil, nil})
	out := make([]Definition, len(rows))
	for i, row := range rows {
		rd := row.ResourceDefinition()
		out[i] = Definition{
			Type: rd.Type, Namespace: rd.DefaultNamespace, Sensitive: rd.Sensitivity == spec.Sensitive,
			Owner: row.owner, Readers: row.readers, Writers: row.writers, Aliases: rd.Aliases, Columns: rd.PrintColumns,
		}
	}

	return out
})

var byType = sync.OnceValue(func() map[string]Definition {
	out := map[string]Definition{}
	for _, d := range all() {
		out[d.Type] = d
	}

	return out
})

// Definitions lists every type, sorted, then the two types that describe types.
func Definitions() []Definition { return slices.Clone(all()) }

// Lookup finds a type by its full name.
func Lookup(resourceType string) (Definition, bool) {
	d, ok := byType()[resourceType]

	return d, ok
}

// Register tells cosi how to decode every type. It may be called many times.
func Register() error { return registerOnce() }

var registerOnce = sync.OnceValue(func() error { return errors.Join(register()...) })
