package time

import "github.com/cosi-project/runtime/pkg/resource"

// Identifiers of the resources that are one of a kind.
const (
	StatusID        = resource.ID("node")
	AdjtimeStatusID = resource.ID("node")
)
