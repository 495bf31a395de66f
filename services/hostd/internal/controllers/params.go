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
	told   reconcile.Told    // errors that were logged
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
	c.before = map[string]string{}

	// The configuration may be a long time coming: it waits for disks, and disks for drivers.
	if _, err := c.apply(c.defaults()); err != nil {
		return err
	}

	return reconcile.Each(ctx, r, func() error { return c.step(ctx, r) })
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

	p := reconcile.Publisher{Writer: r, Owner: c.Name()}

	return errors.Join(publishParams(ctx, p, defaults, specs, statuses), publishModules(ctx, p, machine))
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
	if !c.told.News(id, err.Error()) {
		return
	}

	level := slog.LevelWarn
	if quiet {
		level = slog.LevelDebug
	}

	c.Log.Log(context.Background(), level, "kernel parameter", "id", id, "error", err)
}

func publishParams(
	ctx context.Context, p reconcile.Publisher, defaults, specs map[string]sysctl.Param, statuses map[string]runtime.KernelParamStatusSpec,
) error {
	defaultSpecs, paramSpecs := map[string]runtime.KernelParamDefaultSpecSpec{}, map[string]runtime.KernelParamSpecSpec{}

	for id, param := range defaults {
		defaultSpecs[id] = runtime.KernelParamDefaultSpecSpec{Value: param.Value, IgnoreErrors: param.IgnoreErrors}
	}

	for id, param := range specs {
		paramSpecs[id] = runtime.KernelParamSpecSpec{Value: param.Value, IgnoreErrors: param.IgnoreErrors}
	}

	return errors.Join(
		reconcile.Publish(ctx, p, runtime.NewKernelParamDefaultSpec, runtime.NamespaceName, defaultSpecs),
		reconcile.Publish(ctx, p, runtime.NewKernelParamSpec, runtime.NamespaceName, paramSpecs),
		reconcile.Publish(ctx, p, runtime.NewKernelParamStatus, runtime.NamespaceName, statuses),
	)
}

// publishModules says what the configuration asks for; Devices loads it, on a kernel of the node's own.
func publishModules(ctx context.Context, p reconcile.Publisher, m *machineconfig.MachineConfig) error {
	modules := map[string]runtime.KernelModuleSpecSpec{}

	if m.Kernel != nil {
		for _, module := range m.Kernel.Modules {
			modules[module.Name] = runtime.KernelModuleSpecSpec{Name: module.Name, Parameters: module.Parameters}
		}
	}

	return reconcile.Publish(ctx, p, runtime.NewKernelModuleSpec, runtime.NamespaceName, modules)
}
