package catalog

// Declared looks a type up in the declarations of proto/resource.
func Declared(typ string) (Definition, bool) {
	_ = typ // TODO(kit): proto/resource.Lookup, once it is there

	return Definition{}, false
}
