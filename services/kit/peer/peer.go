// Package peer tells a method who called it: the process at the other end of the socket and the roles it speaks for.
package peer

import (
	"context"
)

// Peer is the process at the other end of a daemon's socket, as the kernel told it at accept.
type Peer struct {
	// Name is the daemon's name as init registered its pid, or "" for root's own tools.
	Name string
	PID  int
	UID  int
}

// FromContext gives the caller of a method; false when the call did not come through a daemon's socket.
func FromContext(ctx context.Context) (Peer, bool) {
	_ = ctx

	return Peer{}, false
}

// Roles gives the roles the caller speaks for: what the gateway forwarded, or os:admin for daemons and root's own tools.
func Roles(ctx context.Context) []string {
	_ = ctx

	return nil
}
