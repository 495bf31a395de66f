// Package controllers connects the mesh with the resources: one controller a file.
package controllers

import (
	"context"
	"fmt"

	"github.com/cosi-project/runtime/pkg/controller"
	"github.com/cosi-project/runtime/pkg/safe"
	"github.com/cosi-project/runtime/pkg/state"
	"github.com/siderolabs/gen/optional"
	"go.uber.org/zap"

	"github.com/dactyl-os/dactyl/proto/config"
	"github.com/dactyl-os/dactyl/proto/resource/cluster"
	configres "github.com/dactyl-os/dactyl/proto/resource/config"
	"github.com/dactyl-os/dactyl/services/discoveryd/internal/spec"
	"github.com/dactyl-os/dactyl/services/kit/router"
)

// Config shows what the machine configuration says about the cluster.
type Config struct{}

// Name is the owner of the outputs.
func (Config) Name() string { return "discoveryd.Config" }

// Inputs of the controller.
func (Config) Inputs() []controller.Input { return []controller.Input{machineConfigInput()} }

// Outputs of the controller.
func (Config) Outputs() []controller.Output {
	return []controller.Output{
		{Type: cluster.InfoType, Kind: controller.OutputExclusive},
		{Type: cluster.ConfigType, Kind: controller.OutputExclusive},
	}
}

// Run until ctx ends.
func (Config) Run(ctx context.Context, r controller.Runtime, _ *zap.Logger) error {
	return eachEvent(ctx, r, func() error {
		machine, err := machineConfig(ctx, r)
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

func machineConfigInput() controller.Input {
	return controller.Input{
		Namespace: configres.NamespaceName, Type: configres.MachineConfigType,
		ID: optional.Some(configres.ActiveID), Kind: controller.InputWeak,
	}
}

// machineConfig gives nil as long as the machine has no configuration.
func machineConfig(ctx context.Context, r controller.Reader) (*config.Config, error) {
	stored, err := safe.ReaderGetByID[*configres.MachineConfig](ctx, r, configres.ActiveID)
	if absent(err) {
		return nil, nil //nolint:nilnil // both absent is a state of its own
	}

	if err != nil {
		return nil, fmt.Errorf("read machine configuration: %w", err)
	}

	parsed, err := config.Load(stored.TypedSpec().Data)
	if err != nil {
		return nil, fmt.Errorf("load machine configuration: %w", err)
	}

	return parsed, nil
}

// absent also holds for what belongs to a daemon that does not run here.
func absent(err error) bool { return state.IsNotFoundError(err) || router.IsNoOwner(err) }

// eachEvent runs the step at the start and on every change of an input.
func eachEvent(ctx context.Context, r controller.Runtime, step func() error) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-r.EventCh():
		}

		if err := step(); err != nil {
			return err
		}

		r.ResetRestartBackoff()
	}
}
