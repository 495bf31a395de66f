// Package checkpoint is what networkd keeps in its run directory over a restart of the daemon (not of the node): what it
// answers for in the kernel, and the specs it last worked by. So a restarted networkd goes on where it was.
package checkpoint

import (
	"log/slog"
	"net/netip"

	"github.com/dactyl-os/dactyl/services/kit/keep"

	"github.com/dactyl-os/dactyl/services/networkd/internal/plan"
	"github.com/dactyl-os/dactyl/services/networkd/internal/spec"
)

// Network is what Configure remembers.
type Network struct {
	Owned plan.Owned `json:"owned"`
	// Sets are the sources that were merged, Complete says that the machine configuration was one of them.
	Sets     []spec.Set `json:"sets"`
	Complete bool       `json:"complete"`
}

// Addresses is what Observe remembers: the NodeAddress resources by ID. The default address stays as long as it exists.
type Addresses map[string][]netip.Prefix

// File is a value with its place on disk.
type File[T any] = keep.File[T]

// format changes when a reader would misunderstand what an older or newer networkd wrote.
const format = 1

// Open reads the file at path. Without a checkpoint of the last run nothing that it put in place is removed.
func Open[T any](path string, log *slog.Logger) (*File[T], error) {
	return keep.Open[T](path, format, log)
}
