package controllers

import (
	"context"
	"net/netip"

	"github.com/cosi-project/runtime/pkg/controller"
	"github.com/cosi-project/runtime/pkg/resource"
	"github.com/siderolabs/gen/optional"
	"go.uber.org/zap"

	"github.com/dactyl-os/dactyl/proto/resource/network"
	"github.com/dactyl-os/dactyl/proto/resource/runtime"
	"github.com/dactyl-os/dactyl/services/discoveryd/internal/gossip"
	"github.com/dactyl-os/dactyl/services/discoveryd/internal/spec"
	"github.com/dactyl-os/dactyl/services/kit/reconcile"
)

// Local tells the mesh what this node is and how to look for others.
type Local struct {
	Mesh    *gossip.Mesh
	Version string
}

// Name of the controller.
func (*Local) Name() string { return "discoveryd.Local" }

// Inputs of the controller.
func (*Local) Inputs() []controller.Input {
	return []controller.Input{
		reconcile.MachineConfigInput(),
		{Namespace: network.NamespaceName, Type: network.HostnameStatusType, ID: optional.Some(network.HostnameID), Kind: controller.InputWeak},
		{Namespace: network.NamespaceName, Type: network.NodeAddressType, Kind: controller.InputWeak},
		{Namespace: runtime.NamespaceName, Type: runtime.MachineStatusType, ID: optional.Some(runtime.MachineStatusID), Kind: controller.InputWeak},
	}
}

// Outputs of the controller: the mesh is no resource.
func (*Local) Outputs() []controller.Output { return nil }

// Run until ctx ends.
func (ctrl *Local) Run(ctx context.Context, r controller.Runtime, _ *zap.Logger) error {
	var advertised netip.Addr

	return reconcile.Each(ctx, r, func() error {
		machine, err := reconcile.MachineConfig(ctx, r)
		if machine == nil || err != nil {
			return err
		}

		node, err := readNode(ctx, r)
		if err != nil {
			return err
		}

		// A node without a name or an address yet has nothing to say; what it said in an earlier life stays.
		if node.Hostname == "" || len(node.Routed) == 0 {
			return nil
		}

		settings := spec.Settings(machine, node, advertised)
		advertised = settings.Advertise

		ctrl.Mesh.Describe(spec.Record(machine, node, ctrl.Version))
		ctrl.Mesh.Configure(settings)

		return nil
	})
}

func readNode(ctx context.Context, r controller.Reader) (spec.Node, error) {
	var node spec.Node

	hostname, err := reconcile.Find[*network.HostnameStatus](ctx, r, network.HostnameID)
	if err != nil {
		return node, err
	}

	if hostname != nil {
		node.Hostname, node.Domainname = hostname.TypedSpec().Hostname, hostname.TypedSpec().Domainname
	}

	if node.Routed, err = addresses(ctx, r, network.NodeAddressRoutedID); err != nil {
		return node, err
	}

	if node.All, err = addresses(ctx, r, network.NodeAddressCurrentID); err != nil {
		return node, err
	}

	status, err := reconcile.Find[*runtime.MachineStatus](ctx, r, runtime.MachineStatusID)
	if err != nil {
		return node, err
	}

	if status != nil {
		node.Status = status.TypedSpec()
	}

	standing, err := addresses(ctx, r, network.NodeAddressDefaultID)
	if err == nil && len(standing) > 0 {
		node.Default = standing[0]
	}

	return node, err
}

func addresses(ctx context.Context, r controller.Reader, id resource.ID) ([]netip.Addr, error) {
	found, err := reconcile.Find[*network.NodeAddress](ctx, r, id)
	if found == nil || err != nil {
		return nil, err
	}

	var list []netip.Addr
	for _, prefix := range found.TypedSpec().Addresses {
		list = append(list, prefix.Addr())
	}

	return list, nil
}
