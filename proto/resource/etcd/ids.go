package etcd

import "github.com/cosi-project/runtime/pkg/resource"

// Identifiers of the resources that are one of a kind.
const (
	ConfigID      = resource.ID("etcd")
	SpecID        = resource.ID("etcd")
	PKIID         = resource.ID("etcd")
	LocalMemberID = resource.ID("local")
)
