package route

import (
	"slices"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/dactyl-os/dactyl/services/gateway/internal/wire"
	"github.com/dactyl-os/dactyl/services/kit/access"
)

// Type is what routing needs to know about a resource type.
type Type struct {
	Owner     string
	Sensitive bool
}

// ResourceOwner gives the daemon that serves a cosi.resource.State request, after checking that the caller's roles
// allow its type.
func ResourceOwner(method *Method, request []byte, roles []string, lookup func(string) (Type, bool)) (string, error) {
	name, err := wire.ResourceType(method.Short, request)
	if err != nil {
		return "", status.Errorf(codes.InvalidArgument, "%s: %v", method.Name, err)
	}

	if name == "" {
		return "", status.Errorf(codes.InvalidArgument, "%s: the request names no resource type", method.Name)
	}

	typ, ok := lookup(name)
	if !ok {
		return "", status.Errorf(codes.NotFound, "resource type %q is not known to this node; list the types with: get rd", name)
	}

	if typ.Sensitive && !slices.Contains(roles, access.Admin) {
		return "", status.Errorf(codes.PermissionDenied, "not authorized: resource type %q is sensitive, it needs the role %s", name, access.Admin)
	}

	return typ.Owner, nil
}
