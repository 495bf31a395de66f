// Package service answers the calls that trustd owns: signing on :50001 and
// client configurations through the gateway.
package service

import (
	"context"
	"crypto/subtle"
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

// Security signs server certificates of workers that know the machine token.
type Security struct {
	securityapi.UnimplementedSecurityServiceServer

	Local state.State
	// State is the node's: its members and its configuration tell what is not a worker's.
	State state.State
	// Laptop lets in callers on this machine, whose address says nothing.
	Laptop bool
	Log    *slog.Logger
	Now    func() time.Time
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

	from := source(ctx)

	others, err := s.others(ctx, from)
	if err != nil {
		return nil, status.Errorf(codes.Unavailable, "what is not the caller's is not known yet: %v", err)
	}

	claimed := from
	if s.Laptop && from.IsLoopback() {
		claimed = netip.Addr{}
	}

	if err := CheckRequest(csr, claimed, others); err != nil {
		s.Log.Warn("a worker's request is refused", "peer", from, "for", csr.Subject.CommonName, "error", err)

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

// source gives the caller's address; one that has none is nobody's, and so in no request.
func source(ctx context.Context) netip.Addr {
	if p, ok := peer.FromContext(ctx); ok {
		if addr, err := netip.ParseAddrPort(p.Addr.String()); err == nil {
			return addr.Addr().Unmap().WithZone("")
		}
	}

	return netip.IPv6Unspecified()
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
