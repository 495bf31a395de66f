package controllers

import (
	"context"

	"github.com/cosi-project/runtime/pkg/controller"
	"github.com/cosi-project/runtime/pkg/resource"
	"github.com/cosi-project/runtime/pkg/state"
	"go.uber.org/zap"

	"github.com/dactyl-os/dactyl/proto/resource/enums"
	"github.com/dactyl-os/dactyl/proto/resource/network"
	"github.com/dactyl-os/dactyl/services/kit/reconcile"

	"github.com/dactyl-os/dactyl/services/networkd/internal/checkpoint"
	"github.com/dactyl-os/dactyl/services/networkd/internal/rtnl"
	"github.com/dactyl-os/dactyl/services/networkd/internal/spec"
	"github.com/dactyl-os/dactyl/services/networkd/internal/status"
)

// Observe publishes what the kernel has, as it changes.
//
// Inputs: the kernel. Outputs: LinkStatus, AddressStatus, RouteStatus, NodeAddress, HardwareAddr.
type Observe struct {
	conn       *rtnl.Conn
	checkpoint *checkpoint.File[checkpoint.Addresses]
	sysfs      string
	monitor    *rtnl.Monitor
	out        reconcile.Publisher
}

// NewObserve subscribes to the kernel's changes.
func NewObserve(
	conn *rtnl.Conn, local state.State, remembered *checkpoint.File[checkpoint.Addresses], sysfs string,
) (*Observe, error) {
	monitor, err := conn.Monitor()
	if err != nil {
		return nil, err
	}

	c := &Observe{conn: conn, checkpoint: remembered, sysfs: sysfs, monitor: monitor}
	c.out = reconcile.NewPublisher(local, c.Name())

	return c, nil
}

// Name is the owner of the outputs.
func (*Observe) Name() string { return "network.ObserveController" }

// Inputs of the controller.
func (*Observe) Inputs() []controller.Input { return nil }

// Outputs of the controller.
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
	snapshot, err := c.conn.Latest()
	if err != nil {
		return err
	}

	details := c.conn.Details(snapshot.Links, c.sysfs)

	if err := reconcile.Publish(ctx, c.out, network.NewLinkStatus, network.NamespaceName, status.Links(snapshot, details)); err != nil {
		return err
	}

	if err := reconcile.Publish(ctx, c.out, network.NewAddressStatus, network.NamespaceName, status.Addresses(snapshot)); err != nil {
		return err
	}

	if err := reconcile.Publish(ctx, c.out, network.NewRouteStatus, network.NamespaceName, status.Routes(snapshot)); err != nil {
		return err
	}

	if err := c.publishNodeAddresses(ctx, snapshot); err != nil {
		return err
	}

	return c.publishHardwareAddr(ctx, status.Devices(snapshot, details))
}

func (c *Observe) publishNodeAddresses(ctx context.Context, snapshot rtnl.Snapshot) error {
	c.checkpoint.Value = status.NodeAddresses(snapshot, c.checkpoint.Value)
	if err := c.checkpoint.Save(); err != nil {
		return err
	}

	specs := map[resource.ID]network.NodeAddressSpec{}
	for id, addresses := range c.checkpoint.Value {
		specs[id] = network.NodeAddressSpec{Addresses: addresses}
	}

	return reconcile.Publish(ctx, c.out, network.NewNodeAddress, network.NamespaceName, specs)
}

func (c *Observe) publishHardwareAddr(ctx context.Context, devices []spec.Device) error {
	specs := map[resource.ID]network.HardwareAddrSpec{}

	if first := spec.FirstHardwareAddr(devices); first.Name != "" {
		specs[network.FirstHardwareAddr] = network.HardwareAddrSpec{
			Name: first.Name, HardwareAddr: enums.HardwareAddr(first.HardwareAddr),
		}
	}

	return reconcile.Publish(ctx, c.out, network.NewHardwareAddr, network.NamespaceName, specs)
}
