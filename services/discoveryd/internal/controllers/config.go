// Package controllers connects the mesh with the resources: one controller a file.
package controllers

import (
	"context"
	"fmt"

	"github.com/cosi-project/runtime/pkg/controller"
	"github.com/cosi-project/runtime/pkg/safe"
	"go.uber.org/zap"

	"github.com/dactyl-os/dactyl/proto/resource/cluster"
	"github.com/dactyl-os/dactyl/services/discoveryd/internal/spec"
	"github.com/dactyl-os/dactyl/services/kit/reconcile"
)

// Config shows what the machine configuration says about the cluster.
type Config struct{}

// Name is the owner of the outputs.
func (Config) Name() string { return "discoveryd.Config" }

// Inputs of the controller.
func (Config) Inputs() []controller.Input { return []controller.Input{reconcile.MachineConfigInput()} }

// Outputs of the controller.
func (Config) Outputs() []controller.Output {
	return []controller.Output{
		{Type: cluster.InfoType, Kind: controller.OutputExclusive},
		{Type: cluster.ConfigType, Kind: controller.OutputExclusive},
	}
}

// Run until ctx ends.
func (Config) Run(ctx context.Context, r controller.Runtime, _ *zap.Logger) error {
	return reconcile.Each(ctx, r, func() error {
		machine, err := reconcile.MachineConfig(ctx, r)
		if machine == nil || err != nil {
			return err
		}

		if err := safe.WriterModify(ctx, r, cluster.NewInfo(cluster.NamespaceName, cluster.InfoID), func(info *cluster.Info) error {
			*info.TypedSpec() = spec.Info(machine)

			return nil
		}); err != nil {
			return fmt.Errorf("publish cluster info: %w", err)
		}

		if err := safe.WriterModify(ctx, r, cluster.NewConfig(cluster.ConfigNamespaceName, cluster.DiscoveryConfigID), func(c *cluster.Config) error {
			*c.TypedSpec() = spec.Discovery(machine)

			return nil
		}); err != nil {
			return fmt.Errorf("publish discovery configuration: %w", err)
		}

		return nil
	})
}
