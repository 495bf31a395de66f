package controllers

import (
	"context"
	"fmt"
	"time"

	"github.com/cosi-project/runtime/pkg/controller"
	"github.com/cosi-project/runtime/pkg/safe"
	"go.uber.org/zap"

	"github.com/dactyl-os/dactyl/proto/resource/enums"
	respki "github.com/dactyl-os/dactyl/proto/resource/pki"
	"github.com/dactyl-os/dactyl/proto/resource/secrets"
	"github.com/dactyl-os/dactyl/services/kit/reconcile"
	"github.com/dactyl-os/dactyl/services/trustd/internal/pki"
	"github.com/dactyl-os/dactyl/services/trustd/internal/plan"
	"github.com/dactyl-os/dactyl/services/trustd/internal/spec"
)

// Maintenance keeps the self-signed certificate of a machine of which configd says
// that it has no configuration. It stays until the API certificates are there, so that the
// door is open all the way through setup. Its key, and so its fingerprint,
// stays when an address is added.
type Maintenance struct{ Env }

// Name is the owner of the outputs.
func (*Maintenance) Name() string { return "trustd.Maintenance" }

// Inputs of the controller.
func (*Maintenance) Inputs() []controller.Input {
	return []controller.Input{
		reconcile.Input(secrets.NamespaceName, secrets.APICertsType, secrets.APIID),
		reconcile.Input(secrets.NamespaceName, secrets.CertSANType, secrets.CertSANMaintenanceID),
		reconcile.MachineTypeInput(),
	}
}

// Outputs of the controller.
func (*Maintenance) Outputs() []controller.Output {
	return []controller.Output{{Type: secrets.MaintenanceServiceCertsType, Kind: controller.OutputExclusive}}
}

// Run until ctx ends.
func (ctrl *Maintenance) Run(ctx context.Context, r controller.Runtime, _ *zap.Logger) error {
	return ctrl.each(ctx, r, func() error {
		api, err := reconcile.Find[*secrets.APICerts](ctx, r, secrets.APIID)
		if err != nil {
			return err
		}

		machine, err := reconcile.MachineType(ctx, r)
		if err != nil {
			return err
		}

		existing, err := reconcile.Find[*secrets.MaintenanceServiceCerts](ctx, r, secrets.MaintenanceServiceID)
		if err != nil {
			return err
		}

		r.StartTrackingOutputs()

		// A configured machine that is starting needs none, one in the middle of its setup keeps what it has, and one of which
		// configd says nothing may have a configuration that it cannot read.
		if api == nil && machine != nil && (*machine == enums.MachineTypeUnknown || existing != nil) {
			if err := ctrl.publish(ctx, r); err != nil {
				return err
			}
		}

		return safe.CleanupOutputs[*secrets.MaintenanceServiceCerts](ctx, r)
	})
}

func (ctrl *Maintenance) publish(ctx context.Context, r controller.Runtime) error {
	sans, err := reconcile.Find[*secrets.CertSAN](ctx, r, secrets.CertSANMaintenanceID)
	if sans == nil || err != nil {
		return err
	}

	want := plan.Want{Request: spec.Maintenance(*sans.TypedSpec())}

	if err := safe.WriterModify(ctx, r, secrets.NewMaintenanceServiceCerts(secrets.NamespaceName, secrets.MaintenanceServiceID), func(certs *secrets.MaintenanceServiceCerts) error {
		var key []byte
		if server := certs.TypedSpec().Server; server != nil {
			key = server.Key
		}

		err := ctrl.ensure(ctx, "of maintenance mode", want, self{key: key}, &certs.TypedSpec().Server)
		if server := certs.TypedSpec().Server; server != nil {
			certs.TypedSpec().CA = &respki.CertificateAndKey{Crt: server.Crt}
		}

		return err
	}); err != nil {
		return fmt.Errorf("publish the certificate of maintenance mode: %w", err)
	}

	return nil
}

// self makes certificates that are their own issuer, with the key at hand if there is one.
type self struct{ key []byte }

func (s self) Issue(_ context.Context, request pki.Request, now time.Time) (pki.Pair, error) {
	return pki.SelfSigned(request, s.key, now)
}
