package route

import (
	// The services of the public API: linking a package in puts its descriptors into the table.
	_ "github.com/cosi-project/runtime/api/v1alpha1"

	_ "github.com/dactyl-os/dactyl/proto/cluster"
	_ "github.com/dactyl-os/dactyl/proto/inspect"
	_ "github.com/dactyl-os/dactyl/proto/machine"
	_ "github.com/dactyl-os/dactyl/proto/storage"
	_ "github.com/dactyl-os/dactyl/proto/time"
)
