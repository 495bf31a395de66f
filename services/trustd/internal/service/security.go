// Package service answers the calls that trustd owns: signing on :50001 and
// client configurations through the gateway.
package service

import (
	"context"
	"crypto/subtle"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"time"

	"github.com/cosi-project/runtime/pkg/safe"
	"github.com/cosi-project/runtime/pkg/state"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"

	"github.com/dactyl-os/dactyl/proto/resource/secrets"
	securityapi "github.com/dactyl-os/dactyl/proto/security"
	"github.com/dactyl-os/dactyl/services/trustd/internal/pki"
	"github.com/dactyl-os/dactyl/services/trustd/internal/remote"
)

// maxNames bounds what one certificate may hold.
const maxNames = 256

// Security signs server certificates of workers that know the machine token.
type Security struct {
	securityapi.UnimplementedSecurityServiceServer

	Local state.State
	Log   *slog.Logger
	Now   func() time.Time
}

// Certificate signs the request's key and names as a server certificate.
func (s *Security) Certificate(ctx context.Context, request *securityapi.CertificateRequest) (*securityapi.CertificateResponse, error) {
	root, err := osRoot(ctx, s.Local)
	if err != nil {
		return nil, err
	}

	if err := checkToken(ctx, root.Token); err != nil {
		return nil, err
	}

	csr, err := pki.ParseCSR(request.GetCsr())
	if err != nil {
		return nil, status.Error(codes.InvalidArgument, err.Error())
	}

	from, reached := ends(ctx)
	if err := CheckRequest(csr, reached); err != nil {
		return nil, status.Error(codes.PermissionDenied, err.Error())
	}

	authority, err := issuing(root)
	if err != nil {
		return nil, err
	}

	crt, err := authority.SignServer(csr, s.Now())
	if err != nil {
		return nil, status.Error(codes.Internal, err.Error())
	}

	s.Log.Info("signed a server certificate", "for", csr.Subject.CommonName, "peer", from, "addresses", csr.IPAddresses, "names", csr.DNSNames)

	var accepted []byte
	for _, ca := range root.AcceptedCAs {
		accepted = append(accepted, ca.Crt...)
	}

	return &securityapi.CertificateResponse{Ca: accepted, Crt: crt}, nil
}

// CheckRequest is the rule for what a worker may ask for. The address at which
// it reached this control plane is never its own: with a certificate for it,
// it could stand in for the control plane. Roles in the request are not
// refused, as some clients send them, but left out of the certificate.
func CheckRequest(csr *x509.CertificateRequest, reached netip.Addr) error {
	if len(csr.IPAddresses)+len(csr.DNSNames) == 0 {
		return errors.New("the request names no address and no name: a server certificate needs one")
	}

	if n := len(csr.IPAddresses) + len(csr.DNSNames); n > maxNames {
		return fmt.Errorf("the request has %d addresses and names, %d at most", n, maxNames)
	}

	for _, ip := range csr.IPAddresses {
		addr, ok := netip.AddrFromSlice(ip)
		if ok && addr.Unmap() == reached && !reached.IsLoopback() {
			return fmt.Errorf("the address %s is this control plane's own", reached)
		}
	}

	return nil
}

func checkToken(ctx context.Context, want string) error {
	md, _ := metadata.FromIncomingContext(ctx)
	given := md.Get(remote.TokenKey)

	switch {
	case len(given) == 0:
		return status.Error(codes.Unauthenticated, "the call carries no machine token")
	case want == "":
		return status.Error(codes.Unauthenticated, "machine.token is not set on this control plane")
	case len(given) > 1 || subtle.ConstantTimeCompare([]byte(given[0]), []byte(want)) != 1:
		return status.Error(codes.Unauthenticated, "wrong machine token: machine.token must be the same on all machines of a cluster")
	}

	return nil
}

// ends gives the peer's address and the one at which it reached this machine.
func ends(ctx context.Context) (from, reached netip.Addr) {
	p, ok := peer.FromContext(ctx)
	if !ok {
		return from, reached
	}

	if addr, err := netip.ParseAddrPort(p.Addr.String()); err == nil {
		from = addr.Addr().Unmap()
	}

	if p.LocalAddr != nil {
		if addr, err := netip.ParseAddrPort(p.LocalAddr.String()); err == nil {
			reached = addr.Addr().Unmap()
		}
	}

	return from, reached
}

func osRoot(ctx context.Context, local state.State) (*secrets.OSRootSpec, error) {
	root, err := safe.StateGetByID[*secrets.OSRoot](ctx, local, secrets.OSRootID)
	if state.IsNotFoundError(err) {
		return nil, status.Error(codes.FailedPrecondition, "this machine has no configuration yet")
	}

	if err != nil {
		return nil, status.Errorf(codes.Internal, "read the OS CA: %v", err)
	}

	return root.TypedSpec(), nil
}

func issuing(root *secrets.OSRootSpec) (*pki.Authority, error) {
	if root.IssuingCA == nil || len(root.IssuingCA.Key) == 0 {
		return nil, status.Error(codes.FailedPrecondition, "certificates are signed on control plane nodes only: this machine is a worker")
	}

	authority, err := pki.LoadAuthority(pki.Pair{Crt: root.IssuingCA.Crt, Key: slices.Clone(root.IssuingCA.Key)})
	if err != nil {
		return nil, status.Errorf(codes.Internal, "read the OS CA: %v", err)
	}

	return authority, nil
}
