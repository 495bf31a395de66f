package controllers

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/cosi-project/runtime/pkg/controller"
	"github.com/cosi-project/runtime/pkg/safe"
	"go.uber.org/zap"

	"github.com/dactyl-os/dactyl/proto/resource/network"
	"github.com/dactyl-os/dactyl/proto/resource/secrets"
	"github.com/dactyl-os/dactyl/services/kit/reconcile"
	"github.com/dactyl-os/dactyl/services/trustd/internal/spec"
)

// SANs collects the names and addresses for which the API certificate is valid.
type SANs struct {
	Env
	// Patience is how long a start waits for a hostname and an address before
	// certificates are made without: a machine without network is still
	// reached, while one that starts makes its certificates once.
	Patience time.Duration
}

// Name is the owner of the outputs.
func (*SANs) Name() string { return "trustd.SANs" }

// Inputs of the controller.
func (*SANs) Inputs() []controller.Input {
	return []controller.Input{
		reconcile.Input(secrets.NamespaceName, secrets.OSRootType, secrets.OSRootID),
		reconcile.Input(network.NamespaceName, network.NodeAddressType, network.NodeAddressAccumulativeID),
		reconcile.Input(network.NamespaceName, network.HostnameStatusType, network.HostnameID),
		reconcile.MachineConfigInput(),
	}
}

// Outputs of the controller.
func (*SANs) Outputs() []controller.Output {
	return []controller.Output{{Type: secrets.CertSANType, Kind: controller.OutputExclusive}}
}

// settle is how long addresses may go on changing before certificates are issued for them: a hundred addresses that come one after
// the other are one change.
const settle = 250 * time.Millisecond

// Run until ctx ends.
func (ctrl *SANs) Run(ctx context.Context, r controller.Runtime, _ *zap.Logger) error {
	// networkd waits for configd like this daemon: the time for it begins when configd has answered.
	var start time.Time

	return ctrl.each(ctx, r, func() error {
		if start.IsZero() {
			if _, err := reconcile.MachineConfig(ctx, r); err != nil {
				return err
			}

			start = time.Now()
		}

		sans, complete, err := readSANs(ctx, r)
		if err != nil {
			return err
		}

		if !complete && time.Since(start) < ctrl.Patience {
			return errNotYet
		}

		if sans, complete, err = settled(ctx, r, sans, complete); err != nil {
			return err
		}

		for _, id := range []string{secrets.CertSANAPIID, secrets.CertSANMaintenanceID} {
			if err := safe.WriterModify(ctx, r, secrets.NewCertSAN(secrets.NamespaceName, id), func(san *secrets.CertSAN) error {
				// Half of it is no reason to shrink what an earlier life knew.
				if complete || len(san.TypedSpec().IPs) == 0 {
					*san.TypedSpec() = sans
				}

				return nil
			}); err != nil {
				return fmt.Errorf("publish names of the certificate: %w", err)
			}
		}

		return nil
	})
}

// settled reads the names again after a moment when the addresses are others than those that certificates have.
func settled(ctx context.Context, r controller.Reader, sans secrets.CertSANSpec, complete bool) (secrets.CertSANSpec, bool, error) {
	stored, err := reconcile.Find[*secrets.CertSAN](ctx, r, secrets.CertSANAPIID)
	if stored == nil || err != nil || !slices.Equal(stored.TypedSpec().DNSNames, sans.DNSNames) || slices.Equal(stored.TypedSpec().IPs, sans.IPs) {
		return sans, complete, err
	}

	select {
	case <-ctx.Done():
		return sans, complete, ctx.Err()
	case <-time.After(settle):
		return readSANs(ctx, r)
	}
}

const errNotYet = constError("waiting for the hostname and the addresses from networkd")

func readSANs(ctx context.Context, r controller.Reader) (sans secrets.CertSANSpec, complete bool, err error) {
	var (
		root         = secrets.OSRootSpec{CertSANIPs: []netip.Addr{netip.MustParseAddr("127.0.0.1"), netip.IPv6Loopback()}, CertSANDNSNames: []string{"localhost"}}
		host, domain string
		addrs        []netip.Addr
	)

	stored, err := reconcile.Find[*secrets.OSRoot](ctx, r, secrets.OSRootID)
	if err != nil {
		return sans, false, err
	}

	// Those of the configuration are among the names as soon as there is one.
	machine, _ := reconcile.MachineConfig(ctx, r)
	complete = machine == nil || stored != nil

	if stored != nil {
		root = *stored.TypedSpec()
	}

	if stored := known[*network.HostnameStatus](ctx, r, network.HostnameID); stored != nil {
		host, domain = stored.TypedSpec().Hostname, stored.TypedSpec().Domainname
	}

	if stored := known[*network.NodeAddress](ctx, r, network.NodeAddressAccumulativeID); stored != nil {
		for _, prefix := range stored.TypedSpec().Addresses {
			addrs = append(addrs, prefix.Addr())
		}
	}

	return spec.SANs(root, host, domain, addrs), complete && host != "" && len(addrs) > 0, nil
}
