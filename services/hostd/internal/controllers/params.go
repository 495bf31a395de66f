// Package controllers are the cosi controllers of hostd.
package controllers

import (
	"context"
	"errors"
	"log/slog"
	"maps"

	"github.com/cosi-project/runtime/pkg/controller"
	"go.uber.org/zap"

	machineconfig "github.com/dactyl-os/dactyl/proto/config"
	"github.com/dactyl-os/dactyl/proto/resource/runtime"
	"github.com/dactyl-os/dactyl/services/kit/reconcile"

	"github.com/dactyl-os/dactyl/services/hostd/internal/sysctl"
)

// Params makes the kernel parameters what the configuration asks for, and tells what they are.
//
// Inputs: MachineConfig. Outputs: KernelParamDefaultSpec, KernelParamSpec, KernelParamStatus; the kernel.
type Params struct {
	Kernel sysctl.Kernel
	Scope  sysctl.Scope
	// Panic says that the kernel's command line has panic=, which then stays.
	Panic bool
	Log   *slog.Logger

	before map[string]string // values from before the first write, by parameter
	told   map[string]string // errors that were logged
}

// Name is the owner of the outputs.
func (*Params) Name() string { return "hostd.Params" }

// Inputs of the controller.
func (*Params) Inputs() []controller.Input {
	return []controller.Input{reconcile.MachineConfigInput()}
}

// Outputs of the controller.
func (*Params) Outputs() []controller.Output {
	return []controller.Output{
		{Type: runtime.KernelParamDefaultSpecType, Kind: controller.OutputExclusive},
		{Type: runtime.KernelParamSpecType, Kind: controller.OutputExclusive},
		{Type: runtime.KernelParamStatusType, Kind: controller.OutputExclusive},
		{Type: runtime.KernelModuleSpecType, Kind: controller.OutputExclusive},
	}
}

// Run until ctx ends.
func (c *Params) Run(ctx context.Context, r controller.Runtime, _ *zap.Logger) error {
	c.before, c.told = map[string]string{}, map[string]string{}

	// The configuration may be a long time coming: it waits for disks, and disks for drivers.
	if _, err := c.apply(c.defaults()); err != nil {
		return err
	}

	for {
		select {
		case <-ctx.Done():
			return nil
		case <-r.EventCh():
		}

		if err := c.step(ctx, r); err != nil {
			return err
		}

		r.ResetRestartBackoff()
	}
}

func (c *Params) step(ctx context.Context, r controller.Runtime) error {
	parsed, err := reconcile.MachineConfig(ctx, r)
	if err != nil {
		return err
	}

	machine := parsed.Machine()
	defaults, specs := c.defaults(), sysctl.Wanted(machine)

	wanted := maps.Clone(defaults)
	maps.Copy(wanted, specs)

	statuses, err := c.apply(wanted)
	if err != nil {
		return err
	}

	return errors.Join(publishParams(ctx, r, defaults, specs, statuses), publishModules(ctx, r, machine))
}

// defaults are none where the kernel is shared: it keeps its host's values.
func (c *Params) defaults() map[string]sysctl.Param {
	if c.Scope != sysctl.All {
		return map[string]sysctl.Param{}
	}

	out := sysctl.Defaults()
	if c.Panic {
		delete(out, sysctl.ID("kernel.panic"))
	}

	return out
}

// apply sets what differs and reads everything again.
func (c *Params) apply(wanted map[string]sysctl.Param) (map[string]runtime.KernelParamStatusSpec, error) {
	current, err := c.read(wanted)
	if err != nil {
		return nil, err
	}

	failed := map[string]bool{}

	for _, op := range sysctl.Plan(wanted, current, c.before, c.Scope) {
		if _, ok := c.before[op.ID]; !ok {
			c.before[op.ID] = current[op.ID]
		}

		if err = c.Kernel.Set(op); err != nil {
			failed[op.ID] = true
			c.tell(op.ID, err, wanted[op.ID].IgnoreErrors)
		}
	}

	after, err := c.read(wanted)
	if err != nil {
		return nil, err
	}

	out := map[string]runtime.KernelParamStatusSpec{}

	for id := range wanted {
		value, there := after[id]
		before, ok := c.before[id]

		if !ok {
			before = value
		}

		out[id] = runtime.KernelParamStatusSpec{
			Current: value, Default: before, Unsupported: !there || failed[id] || !c.Scope.Allows(id),
		}

		if !c.Scope.Allows(id) {
			c.tell(id, errors.New("kernel parameter is not the node's own here, it is left as it is"), false)
		}
	}

	return out, nil
}

func (c *Params) read(wanted map[string]sysctl.Param) (map[string]string, error) {
	ids := map[string]bool{}
	for id := range wanted {
		ids[id] = true
	}

	for id := range c.before {
		ids[id] = true
	}

	out := map[string]string{}

	for id := range ids {
		value, ok, err := c.Kernel.Read(id)
		if err != nil {
			c.tell(id, err, wanted[id].IgnoreErrors)
		} else if ok {
			out[id] = value
		}
	}

	return out, nil
}

func (c *Params) tell(id string, err error, quiet bool) {
	if c.told[id] == err.Error() {
		return
	}

	c.told[id] = err.Error()

	level := slog.LevelWarn
	if quiet {
		level = slog.LevelDebug
	}

	c.Log.Log(context.Background(), level, "kernel parameter", "id", id, "error", err)
}

func publishParams(
	ctx context.Context, r controller.Runtime, defaults, specs map[string]sysctl.Param, statuses map[string]runtime.KernelParamStatusSpec,
) error {
	return errors.Join(
		publish(ctx, r, runtime.NewKernelParamDefaultSpec, runtime.NamespaceName, defaults,
			func(res *runtime.KernelParamDefaultSpec, p sysctl.Param) {
				res.TypedSpec().Value, res.TypedSpec().IgnoreErrors = p.Value, p.IgnoreErrors
			}),
		publish(ctx, r, runtime.NewKernelParamSpec, runtime.NamespaceName, specs,
			func(res *runtime.KernelParamSpec, p sysctl.Param) {
				res.TypedSpec().Value, res.TypedSpec().IgnoreErrors = p.Value, p.IgnoreErrors
			}),
		publish(ctx, r, runtime.NewKernelParamStatus, runtime.NamespaceName, statuses,
			func(res *runtime.KernelParamStatus, s runtime.KernelParamStatusSpec) { *res.TypedSpec() = s }),
	)
}

// publishModules says what the configuration asks for; Devices loads it, on a kernel of the node's own.
func publishModules(ctx context.Context, r controller.Runtime, m *machineconfig.MachineConfig) error {
	modules := map[string][]string{}

	if m.Kernel != nil {
		for _, module := range m.Kernel.Modules {
			modules[module.Name] = module.Parameters
		}
	}

	return publish(ctx, r, runtime.NewKernelModuleSpec, runtime.NamespaceName, modules,
		func(res *runtime.KernelModuleSpec, parameters []string) {
			res.TypedSpec().Name, res.TypedSpec().Parameters = res.Metadata().ID(), parameters
		})
}
