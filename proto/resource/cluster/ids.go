package cluster

import "github.com/cosi-project/runtime/pkg/resource"

// Identifiers of the resources that are one of a kind.
const (
	LocalIdentityID   = resource.ID("local")
	InfoID            = resource.ID("current")
	DiscoveryConfigID = resource.ID("cluster")
)
