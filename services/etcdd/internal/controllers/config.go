package controllers

import (
	"context"
	"fmt"
	"maps"

	"github.com/cosi-project/runtime/pkg/controller"
	"github.com/cosi-project/runtime/pkg/safe"
	"go.uber.org/zap"

	"github.com/dactyl-os/dactyl/proto/resource/etcd"

	"github.com/dactyl-os/dactyl/services/etcdd/internal/engine"
	"github.com/dactyl-os/dactyl/services/etcdd/internal/spec"
	"github.com/dactyl-os/dactyl/services/kit/reconcile"
)

// Config turns the machine configuration of a control plane node into EtcdConfigs.
type Config struct {
	// Wrong hears what is wrong with the configuration, "" when nothing is.
	Wrong func(text string, wrong bool)

	// The arguments that the engine was asked about, and its answer.
	args   map[string]string
	asked  bool
	answer error
}

// Name is the owner of the outputs.
func (*Config) Name() string { return "etcdd.Config" }

// Inputs of the controller.
func (*Config) Inputs() []controller.Input {
	return []controller.Input{reconcile.MachineConfigInput()}
}

// Outputs of the controller.
func (*Config) Outputs() []controller.Output { return exclusive(etcd.ConfigType) }

// Run until ctx ends.
func (c *Config) Run(ctx context.Context, r controller.Runtime, _ *zap.Logger) error {
	return reconcile.Each(ctx, r, func() error { return c.step(ctx, r) })
}

func (c *Config) step(ctx context.Context, r controller.Runtime) error {
	parsed, err := reconcile.MachineConfig(ctx, r)
	if err != nil {
		return err
	}

	out := etcd.NewConfig(etcd.NamespaceName, etcd.ConfigID)
	if parsed == nil || !parsed.IsControlPlane() {
		return retire(ctx, r, out.Metadata())
	}

	made := spec.Config(parsed)
	// A wrong argument must not stop a member that runs with the last right ones.
	if err = c.check(made.ExtraArgs); err != nil {
		err = fmt.Errorf("cluster.etcd.extraArgs: %w", err)
		c.Wrong(err.Error(), true)

		return err
	}

	c.Wrong("", false)

	return safe.WriterModify(ctx, r, out, func(res *etcd.Config) error {
		*res.TypedSpec() = made

		return nil
	})
}

// check asks the engine about arguments that differ from those of the last time.
func (c *Config) check(args map[string]string) error {
	if !c.asked || !maps.Equal(c.args, args) {
		c.asked, c.args, c.answer = true, maps.Clone(args), engine.CheckArgs(args)
	}

	return c.answer
}
