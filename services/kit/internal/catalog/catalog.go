// Package catalog answers who owns a resource type, who may read it and who may write it.
package catalog

// Definition is what the kit needs to know of a resource type.
type Definition struct {
	// Owner is the daemon that serves the type.
	Owner string
	// Sensitive types are answered only to Readers, root's own tools and administrators.
	Sensitive bool
	// Readers are the daemons that may read a sensitive type, beside its owner.
	Readers []string
	// Writers are the daemons that may write the type, beside its owner.
	Writers []string
}

// Lookup finds a type's definition; false for types nobody declared.
type Lookup func(typ string) (Definition, bool)

// With answers from extra first, then from lookup.
func (lookup Lookup) With(extra map[string]Definition) Lookup {
	return func(typ string) (Definition, bool) {
		if def, ok := extra[typ]; ok {
			return def, true
		}

		return lookup(typ)
	}
}
