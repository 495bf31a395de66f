package controllers

import (
	"context"
	"time"

	"github.com/cosi-project/runtime/pkg/controller"

	"github.com/dactyl-os/dactyl/proto/resource/network"
	"github.com/dactyl-os/dactyl/services/kit/reconcile"
)

// timeConfig is machine.time.
type timeConfig struct {
	Disabled    bool
	Servers     []string
	BootTimeout time.Duration
}

// Servers gives the time servers: those networkd settled on, or without it (timed runs alone) the configuration's own.
func Servers(ctx context.Context, r controller.Reader) ([]string, error) {
	servers, err := reconcile.Find[*network.TimeServerStatus](ctx, r, network.TimeServerID)
	if err != nil {
		return nil, err
	}

	if servers != nil {
		return servers.TypedSpec().NtpServers, nil
	}

	cfg, err := readConfig(ctx, r)

	return cfg.Servers, err
}

// readConfig gives machine.time; the zero timeConfig without a machine configuration.
func readConfig(ctx context.Context, r controller.Reader) (timeConfig, error) {
	machine, err := reconcile.MachineConfig(ctx, r)
	if err != nil || machine.Machine().Time == nil {
		return timeConfig{}, err
	}

	wanted := machine.Machine().Time

	return timeConfig{
		Disabled: wanted.Disabled != nil && *wanted.Disabled, Servers: wanted.Servers, BootTimeout: time.Duration(wanted.BootTimeout),
	}, nil
}
