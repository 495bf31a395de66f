// Package peer tells a method who called it: the process at the other end of the socket and the roles it speaks for.
package peer

import (
	"context"

	"google.golang.org/grpc/metadata"
	grpcpeer "google.golang.org/grpc/peer"

	"github.com/dactyl-os/dactyl/services/kit/access"
	"github.com/dactyl-os/dactyl/services/kit/internal/peercred"
)

// Gateway is the one daemon that speaks for callers outside the node.
const Gateway = "gateway"

// Peer is the process at the other end of a daemon's socket, as the kernel told it at accept.
type Peer struct {
	// Name is the daemon's name as init registered its pid, or "" for root's own tools.
	Name string
	PID  int
	UID  int
}

// Trusted tells whether the process may talk to a daemon at all: root and init's children.
func (p Peer) Trusted() bool { return p.UID == 0 || p.Name != "" }

// FromContext gives the caller of a method; false when the call did not come through a daemon's socket.
func FromContext(ctx context.Context) (Peer, bool) {
	p, ok := grpcpeer.FromContext(ctx)
	if !ok {
		return Peer{}, false
	}

	info, ok := p.AuthInfo.(peercred.Info)

	return Peer{Name: info.Name, PID: info.PID, UID: info.UID}, ok
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

// Roles gives the roles the caller speaks for: what the gateway forwarded, os:admin for daemons and root's own tools,
// nothing for anybody else. A role header from any other peer than the gateway means nothing.
func Roles(ctx context.Context) []string {
	md, _ := metadata.FromIncomingContext(ctx)

	return RolesOf(ctx, md)
}

// RolesOf is Roles for code that has the request's metadata before the context does.
func RolesOf(ctx context.Context, md metadata.MD) []string {
	p, ok := FromContext(ctx)

	switch {
	case !ok || !p.Trusted():
		return nil
	case p.Name == Gateway && ForwardedIn(md):
		return access.CleanRoles(md[access.RoleKey])
	default:
		return []string{access.Admin}
	}
}
