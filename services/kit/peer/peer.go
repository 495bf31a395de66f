// Package peer tells a method who called it: the process at the other end of the socket and the roles it speaks for.
package peer

import (
	"context"

	"google.golang.org/grpc/metadata"
	grpcpeer "google.golang.org/grpc/peer"

	"github.com/dactyl-os/dactyl/services/kit/access"
	"github.com/dactyl-os/dactyl/services/kit/cgroup"
	"github.com/dactyl-os/dactyl/services/kit/internal/peercred"
)

const (
	// Gateway is the one daemon that speaks for callers outside the node.
	Gateway = "gateway"
	// Root is the name of root's own tools, which may do everything.
	Root = cgroup.Root
)

// Peer is the process at the other end of a daemon's socket, as the kernel told it at accept.
type Peer struct {
	// Name is that of the cgroup init put the process in: a daemon's, that of another unit, or Root; "" is nobody.
	Name string
	PID  int
	UID  int
	// Cgroup is the process's place in the cgroup v2 tree, if it can be told.
	Cgroup string
}

// Daemon tells whether a daemon or another unit of the node calls, not one of root's own tools.
func (p Peer) Daemon() bool { return p.Name != "" && p.Name != Root }

// FromContext gives the caller of a method; false when the call did not come through a daemon's socket.
func FromContext(ctx context.Context) (Peer, bool) {
	p, ok := grpcpeer.FromContext(ctx)
	if !ok {
		return Peer{}, false
	}

	info, ok := p.AuthInfo.(peercred.Info)

	return Peer{Name: info.Name, PID: info.PID, UID: info.UID, Cgroup: info.Cgroup}, ok
}

// SelfKey is the metadata key of calls that the gateway makes for itself, not for somebody outside. The gateway removes
// it, like every other dactyl-* key, from what it forwards.
const SelfKey = "dactyl-self"

// AsSelf marks a call of the gateway's own; for other daemons it changes nothing.
func AsSelf(ctx context.Context) context.Context {
	return metadata.AppendToOutgoingContext(ctx, SelfKey, "1")
}

// Forwarded tells whether the caller speaks for somebody outside the node. The gateway always does, unless it says that
// the call is its own and passes no role on.
func Forwarded(ctx context.Context) bool {
	p, ok := FromContext(ctx)
	if !ok || p.Name != Gateway {
		return false
	}

	md, _ := metadata.FromIncomingContext(ctx)

	return ForwardedIn(md)
}

// ForwardedIn is Forwarded for a call that is known to come from the gateway.
func ForwardedIn(md metadata.MD) bool {
	_, roles := md[access.RoleKey]
	_, self := md[SelfKey]

	return roles || !self
}

// Roles gives the roles the caller speaks for: what the gateway forwarded, os:admin for root's own tools, none for anybody
// else: what daemons may do is written beside methods and types. A role header from any other peer than the gateway means nothing.
func Roles(ctx context.Context) []string {
	md, _ := metadata.FromIncomingContext(ctx)

	return RolesOf(ctx, md)
}

// RolesOf is Roles for code that has the request's metadata before the context does.
func RolesOf(ctx context.Context, md metadata.MD) []string {
	p, ok := FromContext(ctx)

	switch {
	case ok && p.Name == Gateway && ForwardedIn(md):
		return access.CleanRoles(md[access.RoleKey])
	case ok && p.Name == Root:
		return []string{access.Admin}
	default:
		return nil
	}
}
