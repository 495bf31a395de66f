// Package caller tells who is at the other end of a public connection and which roles a call has.
package caller

import (
	"context"
	"crypto/sha256"
	"crypto/x509"
	"net"
	"net/netip"
	"slices"

	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/peer"

	"github.com/dactyl-os/dactyl/services/gateway/internal/bounds"
	"github.com/dactyl-os/dactyl/services/kit/access"
)

// Caller is the authenticated peer of one connection.
type Caller struct {
	// Certificate is the verified client certificate, nil on a connection made in maintenance mode.
	Certificate *x509.Certificate
	// Intermediates came with the certificate.
	Intermediates []*x509.Certificate
	// Roles are the organizations of the certificate's subject.
	Roles []string
}

// FromChain makes the caller of a verified chain as the client sent it.
func FromChain(chain []*x509.Certificate) Caller {
	if len(chain) == 0 {
		return Caller{}
	}

	return Caller{Certificate: chain[0], Intermediates: chain[1:], Roles: chain[0].Subject.Organization}
}

// Gateway says whether the peer is another node's gateway, which may speak for its callers.
func (c Caller) Gateway() bool { return slices.Contains(c.Roles, access.Impersonator) }

// Effective gives the roles of one call: those another gateway forwards, otherwise the certificate's own. The header of
// anybody else says nothing.
func (c Caller) Effective(header []string) []string {
	if c.Gateway() {
		// The right to speak for others is not handed on: a forged os:impersonator would widen nothing, but means nothing.
		return slices.DeleteFunc(slices.Clone(access.CleanRoles(header)), func(role string) bool { return role == access.Impersonator })
	}

	return c.Roles
}

// Key names the caller in the ledger of what callers have in hand: the certificate, or the address of one without.
func (c Caller) Key(remote net.Addr) string {
	if c.Certificate != nil {
		sum := sha256.Sum256(c.Certificate.Raw)

		return string(sum[:])
	}

	return Origin(remote)
}

// Origin gives the address of a connection without its port; of IPv6 the network of 64 bits, which is one owner's.
func Origin(remote net.Addr) string {
	address, err := netip.ParseAddrPort(remote.String())
	if err != nil {
		return remote.String()
	}

	ip := address.Addr().Unmap().WithZone("")
	if ip.Is4() {
		return ip.String()
	}

	return netip.PrefixFrom(ip, v6Owner).Masked().String()
}

const v6Owner = 64

// AuthInfo carries the caller from the handshake to its calls.
type AuthInfo struct {
	credentials.TLSInfo

	Caller Caller
	// Check is asked at every call, because a connection may outlive what made it trusted.
	Check func() error
	// Account is what the caller has in hand.
	Account *bounds.Connection
	// Local is the address of this node that the client connected to.
	Local net.Addr
	// Use counts the calls of the connection.
	Use *Use
}

// FromContext gives the authentication of the connection that a call came on.
func FromContext(ctx context.Context) (*AuthInfo, bool) {
	p, ok := peer.FromContext(ctx)
	if !ok {
		return nil, false
	}

	info, ok := p.AuthInfo.(*AuthInfo)

	return info, ok
}
