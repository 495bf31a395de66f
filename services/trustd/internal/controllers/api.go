package controllers

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/cosi-project/runtime/pkg/controller"
	"github.com/cosi-project/runtime/pkg/safe"
	"go.uber.org/zap"

	"github.com/dactyl-os/dactyl/proto/resource/cluster"
	"github.com/dactyl-os/dactyl/proto/resource/enums"
	"github.com/dactyl-os/dactyl/proto/resource/network"
	respki "github.com/dactyl-os/dactyl/proto/resource/pki"
	"github.com/dactyl-os/dactyl/proto/resource/secrets"
	"github.com/dactyl-os/dactyl/services/kit/reconcile"
	"github.com/dactyl-os/dactyl/services/trustd/internal/pki"
	"github.com/dactyl-os/dactyl/services/trustd/internal/plan"
	"github.com/dactyl-os/dactyl/services/trustd/internal/remote"
	"github.com/dactyl-os/dactyl/services/trustd/internal/spec"
)

// refusalHolds is how long a refused request is not made again: members may go, and their addresses become free.
const refusalHolds = 10 * time.Minute

// API keeps the gateway's certificates. A control plane signs them itself, a
// worker has its server certificate signed by a control plane and has no client
// certificate: it passes no calls on.
type API struct {
	Env

	// refused is the request that a control plane did not sign as it was, and until when it is not made again.
	refused      string
	refusedUntil time.Time
}

// Name is the owner of the outputs.
func (*API) Name() string { return "trustd.API" }

// Inputs of the controller.
func (*API) Inputs() []controller.Input {
	return []controller.Input{
		reconcile.MachineConfigInput(),
		reconcile.Input(secrets.NamespaceName, secrets.OSRootType, secrets.OSRootID),
		reconcile.Input(secrets.NamespaceName, secrets.CertSANType, secrets.CertSANAPIID),
		reconcile.Input(network.NamespaceName, network.NodeAddressType, network.NodeAddressCurrentID),
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
		root, err := reconcile.Find[*secrets.OSRoot](ctx, r, secrets.OSRootID)
		if root == nil || err != nil {
			return err
		}

		sans, err := reconcile.Find[*secrets.CertSAN](ctx, r, secrets.CertSANAPIID)
		if sans == nil || err != nil {
			return err
		}

		authority, accepted, err := osAuthority(root.TypedSpec())
		if err != nil {
			return err
		}

		certs, err := storedCertificates(ctx, r)
		if err != nil {
			return err
		}

		certs.AcceptedCAs = root.TypedSpec().AcceptedCAs

		// Whom to believe does not wait for a control plane that has to sign.
		if !authority.CanIssue() {
			if err := publishAPI(ctx, r, certs); err != nil {
				return err
			}
		}

		issueErr := ctrl.renew(ctx, r, root.TypedSpec(), *sans.TypedSpec(), authority, accepted, &certs)

		return errors.Join(publishAPI(ctx, r, certs), issueErr)
	})
}

func storedCertificates(ctx context.Context, r controller.Reader) (secrets.APICertsSpec, error) {
	stored, err := reconcile.Find[*secrets.APICerts](ctx, r, secrets.APIID)
	if stored == nil || err != nil {
		return secrets.APICertsSpec{}, err
	}

	return stored.TypedSpec().DeepCopy(), nil
}

// publishAPI keeps back what has no server certificate: there is nothing to show, and an incomplete resource would only shut the
// door.
func publishAPI(ctx context.Context, r controller.Writer, certs secrets.APICertsSpec) error {
	if certs.Server == nil {
		return nil
	}

	if err := safe.WriterModify(ctx, r, secrets.NewAPICerts(secrets.NamespaceName, secrets.APIID), func(api *secrets.APICerts) error {
		*api.TypedSpec() = certs

		return nil
	}); err != nil {
		return fmt.Errorf("publish API certificates: %w", err)
	}

	return nil
}

// renew issues what is missing or due.
func (ctrl *API) renew(
	ctx context.Context, r controller.Reader, root *secrets.OSRootSpec, sans secrets.CertSANSpec,
	authority *pki.Authority, accepted []*x509.Certificate, certs *secrets.APICertsSpec,
) error {
	if !authority.CanIssue() {
		certs.Client = nil

		return ctrl.ask(ctx, r, root, sans, authority.Cert, accepted, &certs.Server)
	}

	server := plan.Want{Request: spec.APIServer(sans), Issuer: authority.Cert, Accepted: accepted}
	client := plan.Want{Request: spec.APIClient(sans), Issuer: authority.Cert, Accepted: accepted}

	return errors.Join(
		ctrl.ensure(ctx, "of the API", server, local{authority}, &certs.Server),
		ctrl.ensure(ctx, "of the gateway as a client", client, local{authority}, &certs.Client))
}

// ask has the certificate signed by a control plane. One that refuses names of machine.certSANs, as those of the control plane,
// which a generated configuration of a worker has too, or addresses that every machine of the cluster has on its loopback
// link, is asked again without them: what is the worker's alone does.
func (ctrl *API) ask(
	ctx context.Context, r controller.Reader, root *secrets.OSRootSpec, sans secrets.CertSANSpec,
	issuer *x509.Certificate, accepted []*x509.Certificate, server **respki.CertificateAndKey,
) error {
	own := ownAddresses(ctx, r)

	endpoints, err := controlPlanes(ctx, r, own)
	if err != nil {
		return err
	}

	signer := &remote.Signer{Token: root.Token, Accepted: root.AcceptedCAs, Endpoints: endpoints, Log: ctrl.Log}
	want := plan.Want{Request: spec.Worker(sans), Issuer: issuer, Accepted: accepted}
	less := want
	less.Request = spec.Worker(unshared(sans, root, own, ofControlPlanes(members(ctx, r))))

	return ctrl.askAgain(ctx, want, less, signer, server)
}

// unshared are the names without those that only machine.certSANs names and without addresses of control planes.
func unshared(sans secrets.CertSANSpec, root *secrets.OSRootSpec, own, controlPlanes []netip.Addr) secrets.CertSANSpec {
	return spec.Without(sans,
		func(addr netip.Addr) bool {
			return slices.Contains(root.CertSANIPs, addr) && !slices.Contains(own, addr) || slices.Contains(controlPlanes, addr)
		},
		func(name string) bool { return slices.Contains(root.CertSANDNSNames, name) && name != sans.FQDN })
}

// askAgain asks for less when what is wanted is refused. That holds for a while: to ask at every look would only cost time.
func (ctrl *API) askAgain(ctx context.Context, want, less plan.Want, signer Signer, server **respki.CertificateAndKey) error {
	request := fmt.Sprint(want.Request)
	if request == ctrl.refused && ctrl.Now().Before(ctrl.refusedUntil) {
		return ctrl.ensure(ctx, "of the API", less, signer, server)
	}

	err := ctrl.ensure(ctx, "of the API", want, signer, server)
	if !errors.Is(err, remote.ErrRefused) {
		return err
	}

	if slices.Equal(less.Request.IPs, want.Request.IPs) && slices.Equal(less.Request.DNSNames, want.Request.DNSNames) {
		return err
	}

	if lessErr := ctrl.ensure(ctx, "of the API", less, signer, server); lessErr != nil {
		return lessErr
	}

	if request != ctrl.refused {
		ctrl.Log.Warn("the certificate is without names and addresses that are a control plane's too", "error", err)
	}

	ctrl.refused, ctrl.refusedUntil = request, ctrl.Now().Add(refusalHolds)

	return nil
}

func ownAddresses(ctx context.Context, r controller.Reader) []netip.Addr {
	var own []netip.Addr

	if stored := known[*network.NodeAddress](ctx, r, network.NodeAddressCurrentID); stored != nil {
		for _, prefix := range stored.TypedSpec().Addresses {
			own = append(own, prefix.Addr())
		}
	}

	return own
}

// controlPlanes are the hosts to ask for a signature: the members that are
// control planes, then the endpoint (without discovery it is all there is), without this machine.
func controlPlanes(ctx context.Context, r controller.Reader, own []netip.Addr) ([]string, error) {
	machine, err := reconcile.MachineConfig(ctx, r)
	if err != nil {
		return nil, err
	}

	return hosts(members(ctx, r), own, spec.ClusterEndpoint(machine)), nil
}

// members are none without discovery.
func members(ctx context.Context, r controller.Reader) []*cluster.Member {
	list, err := safe.ReaderListAll[*cluster.Member](ctx, r)
	if err != nil {
		return nil
	}

	return slices.Collect(list.All())
}

// ofControlPlanes are the addresses of the members that are control planes.
func ofControlPlanes(members []*cluster.Member) []netip.Addr {
	var list []netip.Addr

	for _, member := range members {
		if member.TypedSpec().MachineType == enums.MachineTypeControlPlane {
			list = append(list, member.TypedSpec().Addresses...)
		}
	}

	return list
}

func hosts(members []*cluster.Member, own []netip.Addr, endpoint string) []string {
	var list []string

	for _, addr := range ofControlPlanes(members) {
		if !slices.Contains(own, addr) {
			list = append(list, addr.String())
		}
	}

	if endpoint != "" && !slices.Contains(list, endpoint) {
		list = append(list, endpoint)
	}

	return list
}
