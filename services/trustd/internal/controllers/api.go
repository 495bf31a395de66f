package controllers

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"net/netip"
	"slices"

	"github.com/cosi-project/runtime/pkg/controller"
	"github.com/cosi-project/runtime/pkg/safe"
	"go.uber.org/zap"

	"github.com/dactyl-os/dactyl/proto/resource/cluster"
	"github.com/dactyl-os/dactyl/proto/resource/enums"
	"github.com/dactyl-os/dactyl/proto/resource/network"
	"github.com/dactyl-os/dactyl/proto/resource/secrets"
	"github.com/dactyl-os/dactyl/services/trustd/internal/pki"
	"github.com/dactyl-os/dactyl/services/trustd/internal/plan"
	"github.com/dactyl-os/dactyl/services/trustd/internal/remote"
	"github.com/dactyl-os/dactyl/services/trustd/internal/spec"
)

// API keeps the gateway's certificates. A control plane signs them itself, a
// worker has its server certificate signed by a control plane and has no client
// certificate: it passes no calls on.
type API struct{ Env }

// Name is the owner of the outputs.
func (*API) Name() string { return "trustd.API" }

// Inputs of the controller.
func (*API) Inputs() []controller.Input {
	return []controller.Input{
		machineConfigInput(),
		input(secrets.NamespaceName, secrets.OSRootType, secrets.OSRootID),
		input(secrets.NamespaceName, secrets.CertSANType, secrets.CertSANAPIID),
		input(network.NamespaceName, network.NodeAddressType, network.NodeAddressCurrentID),
		{Namespace: cluster.NamespaceName, Type: cluster.MemberType, Kind: controller.InputWeak},
	}
}

// Outputs of the controller.
func (*API) Outputs() []controller.Output {
	return []controller.Output{{Type: secrets.APICertsType, Kind: controller.OutputExclusive}}
}

// Run until ctx ends.
func (ctrl *API) Run(ctx context.Context, r controller.Runtime, _ *zap.Logger) error {
	return ctrl.each(ctx, r, func() error {
		root, err := get[*secrets.OSRoot](ctx, r, secrets.OSRootID)
		if root == nil || err != nil {
			return err
		}

		sans, err := get[*secrets.CertSAN](ctx, r, secrets.CertSANAPIID)
		if sans == nil || err != nil {
			return err
		}

		authority, accepted, err := osAuthority(root.TypedSpec())
		if err != nil {
			return err
		}

		certs, issueErr := ctrl.certificates(ctx, r, root.TypedSpec(), *sans.TypedSpec(), authority, accepted)

		// Without a server certificate there is nothing to show: an incomplete resource would only shut the door.
		if certs.Server == nil {
			return issueErr
		}

		if err := safe.WriterModify(ctx, r, secrets.NewAPICerts(secrets.NamespaceName, secrets.APIID), func(api *secrets.APICerts) error {
			*api.TypedSpec() = certs

			return nil
		}); err != nil {
			return fmt.Errorf("publish API certificates: %w", err)
		}

		return issueErr
	})
}

func (ctrl *API) certificates(
	ctx context.Context, r controller.Reader, root *secrets.OSRootSpec, sans secrets.CertSANSpec, authority *pki.Authority, accepted []*x509.Certificate,
) (secrets.APICertsSpec, error) {
	var certs secrets.APICertsSpec

	if stored, err := get[*secrets.APICerts](ctx, r, secrets.APIID); err != nil {
		return certs, err
	} else if stored != nil {
		certs = stored.TypedSpec().DeepCopy()
	}

	certs.AcceptedCAs = root.AcceptedCAs

	var signer Signer = local{authority}

	if !authority.CanIssue() {
		endpoints, err := controlPlanes(ctx, r)
		if err != nil {
			return certs, err
		}

		signer = &remote.Signer{Token: root.Token, Accepted: root.AcceptedCAs, Endpoints: endpoints, Log: ctrl.Log}
	}

	server := plan.Want{Request: spec.APIServer(sans), Issuer: authority.Cert, Accepted: accepted}
	serverErr := ctrl.ensure(ctx, "of the API", server, signer, &certs.Server)

	if !authority.CanIssue() {
		certs.Client = nil

		return certs, serverErr
	}

	client := plan.Want{Request: spec.APIClient(sans), Issuer: authority.Cert, Accepted: accepted}

	return certs, errors.Join(serverErr, ctrl.ensure(ctx, "of the gateway as a client", client, signer, &certs.Client))
}

// controlPlanes are the hosts to ask for a signature: the members that are
// control planes, then the control plane endpoint, without this machine.
func controlPlanes(ctx context.Context, r controller.Reader) ([]string, error) {
	var hosts []string

	machine, err := machineConfig(ctx, r)
	if err != nil {
		return nil, err
	}

	own, err := get[*network.NodeAddress](ctx, r, network.NodeAddressCurrentID)
	if err != nil {
		return nil, err
	}

	members, err := safe.ReaderListAll[*cluster.Member](ctx, r)
	if err != nil {
		return nil, fmt.Errorf("list members: %w", err)
	}

	for member := range members.All() {
		if member.TypedSpec().MachineType != enums.MachineTypeControlPlane {
			continue
		}

		for _, addr := range member.TypedSpec().Addresses {
			hosts = append(hosts, addr.String())
		}
	}

	hosts = append(hosts, spec.ClusterEndpoint(machine))

	return slices.DeleteFunc(slices.Compact(hosts), func(host string) bool {
		return host == "" || own != nil && slices.ContainsFunc(own.TypedSpec().Addresses, func(p netip.Prefix) bool { return p.Addr().String() == host })
	}), nil
}
