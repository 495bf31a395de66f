package controllers

import (
	"context"
	"fmt"

	"github.com/cosi-project/runtime/pkg/controller"
	"github.com/cosi-project/runtime/pkg/safe"
	"go.uber.org/zap"

	"github.com/dactyl-os/dactyl/proto/config"
	"github.com/dactyl-os/dactyl/proto/resource/secrets"
	"github.com/dactyl-os/dactyl/services/kit/reconcile"
	"github.com/dactyl-os/dactyl/services/trustd/internal/spec"
)

// Roots shows the certificate authorities of the machine configuration. A
// configuration never goes away while the machine runs, so nothing is withdrawn
// when it cannot be seen for a moment.
type Roots struct{ Env }

// Name is the owner of the outputs.
func (*Roots) Name() string { return "trustd.Roots" }

// Inputs of the controller.
func (*Roots) Inputs() []controller.Input { return []controller.Input{reconcile.MachineConfigInput()} }

// Outputs of the controller.
func (*Roots) Outputs() []controller.Output {
	return []controller.Output{
		{Type: secrets.OSRootType, Kind: controller.OutputExclusive},
		{Type: secrets.EtcdRootType, Kind: controller.OutputExclusive},
		{Type: secrets.KubernetesRootType, Kind: controller.OutputExclusive},
	}
}

// Run until ctx ends.
func (ctrl *Roots) Run(ctx context.Context, r controller.Runtime, _ *zap.Logger) error {
	return ctrl.each(ctx, r, func() error {
		machine, err := reconcile.MachineConfig(ctx, r)
		if machine == nil || err != nil {
			return err
		}

		return publishRoots(ctx, r, machine)
	})
}

func publishRoots(ctx context.Context, r controller.Runtime, machine *config.Config) error {
	r.StartTrackingOutputs()

	if err := safe.WriterModify(ctx, r, secrets.NewOSRoot(secrets.NamespaceName, secrets.OSRootID), func(root *secrets.OSRoot) error {
		*root.TypedSpec() = spec.OSRoot(machine)

		return nil
	}); err != nil {
		return fmt.Errorf("publish the OS CA: %w", err)
	}

	if etcd, ok := spec.EtcdRoot(machine); ok {
		if err := safe.WriterModify(ctx, r, secrets.NewEtcdRoot(secrets.NamespaceName, secrets.EtcdRootID), func(root *secrets.EtcdRoot) error {
			*root.TypedSpec() = etcd

			return nil
		}); err != nil {
			return fmt.Errorf("publish the CA of etcd: %w", err)
		}
	}

	if kubernetes, ok := spec.KubernetesRoot(machine); ok {
		if err := safe.WriterModify(ctx, r, secrets.NewKubernetesRoot(secrets.NamespaceName, secrets.KubernetesRootID), func(root *secrets.KubernetesRoot) error {
			*root.TypedSpec() = kubernetes

			return nil
		}); err != nil {
			return fmt.Errorf("publish the CA of Kubernetes: %w", err)
		}
	}

	// Both kinds in one call: it ends the tracking.
	if err := r.CleanupOutputs(ctx,
		secrets.NewEtcdRoot(secrets.NamespaceName, "").Metadata(), secrets.NewKubernetesRoot(secrets.NamespaceName, "").Metadata()); err != nil {
		return fmt.Errorf("withdraw CAs: %w", err)
	}

	return nil
}
