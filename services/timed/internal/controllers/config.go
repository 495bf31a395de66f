package controllers

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/cosi-project/runtime/pkg/controller"
	"github.com/cosi-project/runtime/pkg/safe"
	"github.com/cosi-project/runtime/pkg/state"
	"go.yaml.in/yaml/v4"

	"github.com/dactyl-os/dactyl/proto/resource/config"
	"github.com/dactyl-os/dactyl/proto/resource/network"
)

// timeConfig is machine.time.
type timeConfig struct {
	Disabled    bool
	Servers     []string
	BootTimeout time.Duration
}

// Servers gives the time servers: those networkd settled on, or without it (timed runs alone) the configuration's own.
func Servers(ctx context.Context, r controller.Reader) ([]string, error) {
	servers, err := safe.ReaderGetByID[*network.TimeServerStatus](ctx, r, network.TimeServerID)

	switch {
	case err == nil:
		return servers.TypedSpec().NtpServers, nil
	case !state.IsNotFoundError(err):
		return nil, fmt.Errorf("read time servers: %w", err)
	}

	cfg, err := readConfig(ctx, r)

	return cfg.Servers, err
}

// readConfig gives machine.time; the zero timeConfig without a machine configuration.
func readConfig(ctx context.Context, r controller.Reader) (timeConfig, error) {
	machine, err := safe.ReaderGetByID[*config.MachineConfig](ctx, r, config.ActiveID)

	switch {
	case state.IsNotFoundError(err):
		return timeConfig{}, nil
	case err != nil:
		return timeConfig{}, fmt.Errorf("read machine configuration: %w", err)
	}

	return parseConfig(machine.TypedSpec().Data)
}

// parseConfig reads what timed needs of the machine configuration and passes over the rest: configd has checked it, and
// secrets are taken out of what timed gets.
func parseConfig(data []byte) (timeConfig, error) {
	for decoder := yaml.NewDecoder(bytes.NewReader(data)); ; {
		var doc struct {
			Machine struct {
				Time struct {
					Disabled    bool     `yaml:"disabled"`
					Servers     []string `yaml:"servers"`
					BootTimeout string   `yaml:"bootTimeout"`
				} `yaml:"time"`
			} `yaml:"machine"`
			Kind string `yaml:"kind"`
		}

		switch err := decoder.Decode(&doc); {
		case errors.Is(err, io.EOF):
			return timeConfig{}, nil
		case err != nil:
			return timeConfig{}, fmt.Errorf("parse machine configuration: %w", err)
		case doc.Kind != "":
			continue
		}

		out := timeConfig{Disabled: doc.Machine.Time.Disabled, Servers: doc.Machine.Time.Servers}

		if text := doc.Machine.Time.BootTimeout; text != "" {
			var err error
			if out.BootTimeout, err = time.ParseDuration(text); err != nil {
				return timeConfig{}, fmt.Errorf("machine.time.bootTimeout: %w", err)
			}
		}

		return out, nil
	}
}
