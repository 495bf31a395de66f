// Package networkd owns the node's network: links, addresses, routes, host name, resolvers and their statuses.
package networkd

import (
	"context"
	"errors"
	"fmt"
	"io/fs"

	"github.com/dactyl-os/dactyl/proto/machine"
	"github.com/dactyl-os/dactyl/services/kit/cmdline"
	"github.com/dactyl-os/dactyl/services/kit/daemon"

	"github.com/dactyl-os/dactyl/services/networkd/internal/checkpoint"
	"github.com/dactyl-os/dactyl/services/networkd/internal/controllers"
	"github.com/dactyl-os/dactyl/services/networkd/internal/dhcp"
	"github.com/dactyl-os/dactyl/services/networkd/internal/host"
	"github.com/dactyl-os/dactyl/services/networkd/internal/rtnl"
)

// New wires the daemon: it publishes what is there, then its controllers take over.
func New(env *daemon.Env) error {
	conn, err := rtnl.Dial()
	if err != nil {
		return err
	}

	remembered, err := checkpoint.Open[checkpoint.Network](env.RunFile("network.json"), env.Log)
	if err != nil {
		return err
	}

	addresses, err := checkpoint.Open[checkpoint.Addresses](env.RunFile("addresses.json"), env.Log)
	if err != nil {
		return err
	}

	params, err := cmdline.Read(env.Root)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("read kernel command line: %w", err)
	}

	observe, err := controllers.NewObserve(conn, env.Local(), addresses, env.Path("sys"))
	if err != nil {
		return err
	}

	held, err := checkpoint.Open[dhcp.Leases](env.RunFile("leases.json"), env.Log)
	if err != nil {
		return err
	}

	leases := dhcp.New(dhcp.Wire{}, held, env.Log)
	env.Go("keep DHCP leases", leases.Run)

	configure := controllers.NewConfigure(controllers.Configure{
		Conn:       conn,
		Cmdline:    params,
		Checkpoint: remembered,
		Leases:     leases,
		Host:       host.Host{Root: env.Root},
		Sysfs:      env.Path("sys"),
		Log:        env.Log,
	}, env.Local())

	if err := observe.Publish(context.Background()); err != nil {
		return err
	}

	if err := configure.Resume(context.Background()); err != nil {
		return err
	}

	machine.RegisterMachineServiceServer(env.Server(), &methods{conn: conn, captures: make(chan struct{}, maxCaptures)})

	if err := env.Controller(observe); err != nil {
		return err
	}

	return env.Controller(configure)
}
