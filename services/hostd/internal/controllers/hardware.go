package controllers

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"

	"github.com/cosi-project/runtime/pkg/controller"
	"go.uber.org/zap"

	"github.com/dactyl-os/dactyl/proto/resource/hardware"
	"github.com/dactyl-os/dactyl/services/kit/reconcile"

	"github.com/dactyl-os/dactyl/services/hostd/internal/smbios"
)

// Hardware publishes once what the firmware tells. Inputs: the kernel. Outputs: SystemInformation, Processor, MemoryModule.
type Hardware struct {
	Table string // path of the SMBIOS table
	Log   *slog.Logger
}

// Name is the owner of the outputs.
func (*Hardware) Name() string { return "hostd.Hardware" }

// Inputs of the controller.
func (*Hardware) Inputs() []controller.Input { return nil }

// Outputs of the controller.
func (*Hardware) Outputs() []controller.Output {
	return []controller.Output{
		{Type: hardware.SystemInformationType, Kind: controller.OutputExclusive},
		{Type: hardware.ProcessorType, Kind: controller.OutputExclusive},
		{Type: hardware.MemoryModuleType, Kind: controller.OutputExclusive},
	}
}

// Run until ctx ends.
func (c *Hardware) Run(ctx context.Context, r controller.Runtime, _ *zap.Logger) error {
	return reconcile.Each(ctx, r, func() error {
		table, err := os.ReadFile(c.Table)
		if err != nil {
			// Containers and some virtual machines have none.
			c.Log.Debug("no hardware tables", "error", err)

			return nil
		}

		return c.publish(ctx, r, smbios.Parse(table))
	})
}

func (c *Hardware) publish(ctx context.Context, r controller.Runtime, info smbios.Info) error {
	p := reconcile.Publisher{Writer: r, Owner: c.Name()}
	system := map[string]hardware.SystemInformationSpec{}
	if info.System != nil {
		system[hardware.SystemInformationID] = *info.System
	}

	return errors.Join(
		reconcile.Publish(ctx, p, hardware.NewSystemInformation, hardware.NamespaceName, system),
		reconcile.Publish(ctx, p, hardware.NewProcessor, hardware.NamespaceName, numbered("CPU", info.Processors)),
		reconcile.Publish(ctx, p, hardware.NewMemoryModule, hardware.NamespaceName, numbered("DIMM", info.Memory)),
	)
}

func numbered[V any](prefix string, list []V) map[string]V {
	out := map[string]V{}
	for i, v := range list {
		out[fmt.Sprintf("%s-%d", prefix, i)] = v
	}

	return out
}
