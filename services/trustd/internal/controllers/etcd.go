package controllers

import (
	"context"
	"errors"
	"fmt"

	"github.com/cosi-project/runtime/pkg/controller"
	"github.com/cosi-project/runtime/pkg/safe"
	"go.uber.org/zap"

	respki "github.com/dactyl-os/dactyl/proto/resource/pki"
	"github.com/dactyl-os/dactyl/proto/resource/secrets"
	"github.com/dactyl-os/dactyl/services/kit/reconcile"
	"github.com/dactyl-os/dactyl/services/trustd/internal/pki"
	"github.com/dactyl-os/dactyl/services/trustd/internal/plan"
	"github.com/dactyl-os/dactyl/services/trustd/internal/spec"
)

// Etcd keeps the certificates of etcd and its clients, on control planes.
type Etcd struct{ Env }

// Name is the owner of the outputs.
func (*Etcd) Name() string { return "trustd.Etcd" }

// Inputs of the controller.
func (*Etcd) Inputs() []controller.Input {
	return []controller.Input{
		reconcile.Input(secrets.NamespaceName, secrets.EtcdRootType, secrets.EtcdRootID),
		reconcile.Input(secrets.NamespaceName, secrets.CertSANType, secrets.CertSANAPIID),
	}
}

// Outputs of the controller.
func (*Etcd) Outputs() []controller.Output {
	return []controller.Output{{Type: secrets.EtcdCertsType, Kind: controller.OutputExclusive}}
}

// Run until ctx ends.
func (ctrl *Etcd) Run(ctx context.Context, r controller.Runtime, _ *zap.Logger) error {
	return ctrl.each(ctx, r, func() error {
		root, err := reconcile.Find[*secrets.EtcdRoot](ctx, r, secrets.EtcdRootID)
		if err != nil {
			return err
		}

		sans, err := reconcile.Find[*secrets.CertSAN](ctx, r, secrets.CertSANAPIID)
		if err != nil {
			return err
		}

		r.StartTrackingOutputs()

		if root != nil && sans != nil {
			if err := safe.WriterModify(ctx, r, secrets.NewEtcdCerts(secrets.NamespaceName, secrets.EtcdID), func(certs *secrets.EtcdCerts) error {
				return ctrl.fill(ctx, root.TypedSpec(), *sans.TypedSpec(), certs.TypedSpec())
			}); err != nil {
				return fmt.Errorf("publish certificates of etcd: %w", err)
			}
		}

		return safe.CleanupOutputs[*secrets.EtcdCerts](ctx, r)
	})
}

func (ctrl *Etcd) fill(ctx context.Context, root *secrets.EtcdRootSpec, sans secrets.CertSANSpec, certs *secrets.EtcdCertsSpec) error {
	authority, err := pki.LoadAuthority(pki.Pair{Crt: root.EtcdCA.Crt, Key: root.EtcdCA.Key})
	if err != nil {
		return fmt.Errorf("read the CA of etcd: %w", err)
	}

	var errs []error

	for _, certificate := range []struct {
		what    string
		request pki.Request
		slot    **respki.CertificateAndKey
	}{
		{"of etcd", spec.EtcdServer(sans), &certs.Etcd},
		{"of etcd as a peer", spec.EtcdServer(sans), &certs.EtcdPeer},
		{"of etcd's administrator", spec.EtcdAdmin(), &certs.EtcdAdmin},
		{"of the Kubernetes API server as a client of etcd", spec.EtcdAPIServer(), &certs.EtcdAPIServer},
	} {
		want := plan.Want{Request: certificate.request, Issuer: authority.Cert}
		errs = append(errs, ctrl.ensure(ctx, certificate.what, want, local{authority}, certificate.slot))
	}

	return errors.Join(errs...)
}
