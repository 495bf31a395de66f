package controllers

import (
	"context"
	"slices"

	"github.com/cosi-project/runtime/pkg/controller"

	machineconfig "github.com/dactyl-os/dactyl/proto/config"
	"github.com/dactyl-os/dactyl/proto/resource/runtime"
	"github.com/dactyl-os/dactyl/services/kit/cmdline"
	"github.com/dactyl-os/dactyl/services/kit/reconcile"

	"github.com/dactyl-os/dactyl/services/networkd/internal/rtnl"
	"github.com/dactyl-os/dactyl/services/networkd/internal/spec"
	"github.com/dactyl-os/dactyl/services/networkd/internal/status"
)

// parsedMeta remembers the last network configuration of META that was right, and the value that was read last.
type parsedMeta struct {
	value string
	set   spec.Set
}

// machineConfig gives the active configuration, nil when there is none. With an error it gives the last one known: the
// network has to come up, and stay, whatever happens to configd.
func (c *Configure) machineConfig(ctx context.Context, r controller.Reader) (*machineconfig.Config, error) {
	cfg, err := reconcile.MachineConfig(ctx, r)
	if err != nil {
		return c.config, err
	}

	c.config = cfg

	return cfg, nil
}

// sources collects what each source asks for. Without a configuration, a networkd that had one before it was restarted
// keeps what it remembers.
func (c *Configure) sources(cfg *machineconfig.Config, platform spec.Set, snapshot rtnl.Snapshot) {
	if cfg == nil && c.Checkpoint.Value.Complete {
		return
	}

	var details map[uint32]rtnl.Details
	if cfg != nil && selects(cfg.Network()) {
		details = c.Conn.Details(snapshot.Links, c.Sysfs)
	}

	devices := status.Devices(snapshot, details)
	defaults := spec.Defaults(devices)
	defaults.DHCP = spec.Automatic(c.Cmdline, devices)
	sets := []spec.Set{defaults, spec.FromCmdline(c.Cmdline, devices), platform}

	if cfg != nil {
		sets = append(sets, spec.FromConfig(cfg.Machine(), devices))
	}

	c.Checkpoint.Value.Sets, c.Checkpoint.Value.Complete = sets, cfg != nil
}

func selects(n *machineconfig.NetworkConfig) bool {
	if n == nil {
		return false
	}

	for _, d := range n.Interfaces {
		if d.DeviceSelector != nil {
			return true
		}
	}

	return false
}

// merge combines the sources and the leases.
func (c *Configure) merge() spec.Set {
	sources := c.Checkpoint.Value.Sets

	return spec.Merge(append(slices.Clip(sources), c.Leases.Sets(spec.Merge(sources...).DHCP)...)...)
}

// platform gives what META asks for: on metal only. A value that cannot be read as a configuration is told, and changes nothing:
// whoever wrote it may have come over the network that it is about.
func (c *Configure) platform(ctx context.Context, r controller.Reader) (spec.Set, error) {
	if c.Cmdline.Last(cmdline.Platform) != "metal" {
		return spec.Set{}, nil
	}

	key, err := reconcile.Find[*runtime.MetaKey](ctx, r, spec.MetaKey)

	switch {
	case err != nil:
		return c.meta.set, err
	case key == nil:
		c.meta = parsedMeta{}
	case key.TypedSpec().Value != c.meta.value:
		c.meta.value = key.TypedSpec().Value

		if set, err := spec.FromMeta([]byte(c.meta.value)); err != nil {
			c.meta.set.Warnings = lines(err)
		} else {
			c.meta.set = set
		}
	}

	return c.meta.set, nil
}
