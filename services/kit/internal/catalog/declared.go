package catalog

import "github.com/dactyl-os/dactyl/proto/resource"

// Declared looks a type up in the declarations of proto/resource.
func Declared(typ string) (Definition, bool) {
	def, ok := resource.Lookup(typ)

	return Definition{Owner: def.Owner, Sensitive: def.Sensitive, Readers: def.Readers, Writers: def.Writers}, ok
}
