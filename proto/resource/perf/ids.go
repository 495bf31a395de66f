package perf

import "github.com/cosi-project/runtime/pkg/resource"

// Identifiers of the resources that are one of a kind.
const (
	CPUID    = resource.ID("latest")
	MemoryID = resource.ID("latest")
)
