package controllers

import (
	"context"
	"fmt"

	"github.com/cosi-project/runtime/pkg/controller"
	"github.com/cosi-project/runtime/pkg/safe"
	"go.uber.org/zap"

	"github.com/dactyl-os/dactyl/proto/resource/secrets"
	"github.com/dactyl-os/dactyl/services/kit/reconcile"
	"github.com/dactyl-os/dactyl/services/trustd/internal/plan"
	"github.com/dactyl-os/dactyl/services/trustd/internal/spec"
)

// Trustd keeps the certificate of this daemon's own port, on control planes.
type Trustd struct{ Env }

// Name is the owner of the outputs.
func (*Trustd) Name() string { return "trustd.Trustd" }

// Inputs of the controller.
func (*Trustd) Inputs() []controller.Input {
	return []controller.Input{
		reconcile.Input(secrets.NamespaceName, secrets.OSRootType, secrets.OSRootID),
		reconcile.Input(secrets.NamespaceName, secrets.CertSANType, secrets.CertSANAPIID),
	}
}

// Outputs of the controller.
func (*Trustd) Outputs() []controller.Output {
	return []controller.Output{{Type: secrets.TrustdCertsType, Kind: controller.OutputExclusive}}
}

// Run until ctx ends.
func (ctrl *Trustd) Run(ctx context.Context, r controller.Runtime, _ *zap.Logger) error {
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

		r.StartTrackingOutputs()

		if authority.CanIssue() {
			want := plan.Want{Request: spec.Trustd(*sans.TypedSpec()), Issuer: authority.Cert, Accepted: accepted}

			if err := safe.WriterModify(ctx, r, secrets.NewTrustdCerts(secrets.NamespaceName, secrets.TrustdID), func(certs *secrets.TrustdCerts) error {
				certs.TypedSpec().AcceptedCAs = root.TypedSpec().AcceptedCAs

				return ctrl.ensure(ctx, "of trustd", want, local{authority}, &certs.TypedSpec().Server)
			}); err != nil {
				return fmt.Errorf("publish trustd's certificate: %w", err)
			}
		}

		return safe.CleanupOutputs[*secrets.TrustdCerts](ctx, r)
	})
}
