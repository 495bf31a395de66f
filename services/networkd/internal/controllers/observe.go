package controllers

import (
	"context"
	"log/slog"
	"net/netip"

	"github.com/cosi-project/runtime/pkg/controller"
	"github.com/cosi-project/runtime/pkg/resource"
	"github.com/cosi-project/runtime/pkg/safe"
	"github.com/cosi-project/runtime/pkg/state"
	"go.uber.org/zap"

	"github.com/dactyl-os/dactyl/proto/resource/enums"
	"github.com/dactyl-os/dactyl/proto/resource/network"

	"github.com/dactyl-os/dactyl/services/networkd/internal/rtnl"
	"github.com/dactyl-os/dactyl/services/networkd/internal/spec"
	"github.com/dactyl-os/dactyl/services/networkd/internal/status"
)

// Observe publishes what the kernel has, as it changes.
//
// Inputs: the kernel. Outputs: LinkStatus, AddressStatus, RouteStatus, NodeAddress, HardwareAddr.
type Observe struct {
	Conn  *rtnl.Conn
	Log   *slog.Logger
	Sysfs string

	monitor *rtnl.Monitor
	out     *publisher
	local   state.State
}

// NewObserve subscribes to the kernel's changes.
func NewObserve(conn *rtnl.Conn, local state.State, sysfs string, log *slog.Logger) (*Observe, error) {
	monitor, err := rtnl.Subscribe()
	if err != nil {
		return nil, err
	}

	c := &Observe{Conn: conn, Log: log, Sysfs: sysfs, monitor: monitor, local: local}
	c.out = newPublisher(local, c.Name())

	return c, nil
}

// Name implements controller.Controller.
func (*Observe) Name() string { return "network.ObserveController" }

// Inputs implements controller.Controller.
func (*Observe) Inputs() []controller.Input { return nil }

// Outputs implements controller.Controller.
func (*Observe) Outputs() []controller.Output {
	return []controller.Output{
		{Type: network.LinkStatusType, Kind: controller.OutputExclusive},
		{Type: network.AddressStatusType, Kind: controller.OutputExclusive},
		{Type: network.RouteStatusType, Kind: controller.OutputExclusive},
		{Type: network.NodeAddressType, Kind: controller.OutputExclusive},
		{Type: network.HardwareAddrType, Kind: controller.OutputExclusive},
	}
}

// Run publishes on every change until ctx ends.
func (c *Observe) Run(ctx context.Context, r controller.Runtime, _ *zap.Logger) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()

	ended := make(chan error, 1)

	go func() { ended <- c.monitor.Run(ctx, r.QueueReconcile) }()

	for {
		select {
		case <-ctx.Done():
			return <-ended
		case err := <-ended:
			return err
		case <-r.EventCh():
			if err := c.Publish(ctx); err != nil {
				return err
			}
		}
	}
}

// Publish takes a snapshot and writes what is new. It is also called before the daemon serves, so that its readers
// never see an empty network.
func (c *Observe) Publish(ctx context.Context) error {
	snapshot, err := c.Conn.Snapshot()
	if err != nil {
		return err
	}

	details := c.Conn.Details(snapshot.Links, c.Sysfs)

	if err := publish(ctx, c.out, network.NewLinkStatus, network.NamespaceName, status.Links(snapshot, details)); err != nil {
		return err
	}

	if err := publish(ctx, c.out, network.NewAddressStatus, network.NamespaceName, status.Addresses(snapshot)); err != nil {
		return err
	}

	if err := publish(ctx, c.out, network.NewRouteStatus, network.NamespaceName, status.Routes(snapshot)); err != nil {
		return err
	}

	if err := c.publishNodeAddresses(ctx, snapshot); err != nil {
		return err
	}

	return c.publishHardwareAddr(ctx, status.Devices(snapshot, details))
}

func (c *Observe) publishNodeAddresses(ctx context.Context, snapshot rtnl.Snapshot) error {
	list, err := safe.StateList[*network.NodeAddress](ctx, c.local, network.NewNodeAddress(network.NamespaceName, "").Metadata())
	if err != nil {
		return err
	}

	before := map[string][]netip.Prefix{}
	for r := range list.All() {
		before[r.Metadata().ID()] = r.TypedSpec().Addresses
	}

	specs := map[resource.ID]network.NodeAddressSpec{}
	for id, addresses := range status.NodeAddresses(snapshot, before) {
		specs[id] = network.NodeAddressSpec{Addresses: addresses}
	}

	return publish(ctx, c.out, network.NewNodeAddress, network.NamespaceName, specs)
}

func (c *Observe) publishHardwareAddr(ctx context.Context, devices []spec.Device) error {
	specs := map[resource.ID]network.HardwareAddrSpec{}

	if first := spec.FirstHardwareAddr(devices); first.Name != "" {
		specs[network.FirstHardwareAddr] = network.HardwareAddrSpec{
			Name: first.Name, HardwareAddr: enums.HardwareAddr(first.HardwareAddr),
		}
	}

	return publish(ctx, c.out, network.NewHardwareAddr, network.NamespaceName, specs)
}
