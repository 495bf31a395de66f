package controllers

import (
	"context"
	"net/netip"
	"os"

	"github.com/cosi-project/runtime/pkg/controller"
	"github.com/cosi-project/runtime/pkg/safe"
	"go.uber.org/zap"

	"github.com/dactyl-os/dactyl/proto/resource/etcd"
	"github.com/dactyl-os/dactyl/proto/resource/network"

	"github.com/dactyl-os/dactyl/services/etcdd/internal/spec"
	"github.com/dactyl-os/dactyl/services/kit/reconcile"
)

// Spec turns EtcdConfigs and the node's name and addresses into EtcdSpecs.
type Spec struct {
	// IfInet6 is a file that exists when the kernel speaks IPv6.
	IfInet6 string
	// Missing hears what is waited for, "" when the specification is made, and whether the configuration is wrong.
	Missing func(text string, wrong bool)
}

// Name is the owner of the outputs.
func (*Spec) Name() string { return "etcdd.Spec" }

// Inputs of the controller.
func (*Spec) Inputs() []controller.Input {
	return []controller.Input{
		reconcile.Input(etcd.NamespaceName, etcd.ConfigType, etcd.ConfigID),
		reconcile.Input(network.NamespaceName, network.HostnameStatusType, network.HostnameID),
		reconcile.Input(network.NamespaceName, network.NodeAddressType, ""),
		reconcile.Input(network.NamespaceName, network.AddressStatusType, ""),
	}
}

// Outputs of the controller.
func (*Spec) Outputs() []controller.Output { return exclusive(etcd.SpecType) }

// Run until ctx ends.
func (c *Spec) Run(ctx context.Context, r controller.Runtime, _ *zap.Logger) error {
	return reconcile.Each(ctx, r, func() error { return c.step(ctx, r) })
}

func (c *Spec) step(ctx context.Context, r controller.Runtime) error {
	cfg, err := reconcile.Find[*etcd.Config](ctx, r, etcd.ConfigID)
	if err != nil {
		return err
	}

	out := etcd.NewSpec(etcd.NamespaceName, etcd.SpecID)
	if cfg == nil {
		return retire(ctx, r, out.Metadata())
	}

	node, err := c.node(ctx, r)
	if err != nil {
		return err
	}

	made, missing, err := spec.Member(*cfg.TypedSpec(), node)
	if err != nil {
		c.Missing(err.Error(), true)

		return err
	}

	// An address that is away for a moment leaves the specification, and so the member, as it was.
	if c.Missing(missing, false); missing != "" {
		return nil
	}

	return safe.WriterModify(ctx, r, out, func(res *etcd.Spec) error {
		*res.TypedSpec() = made

		return nil
	})
}

func (c *Spec) node(ctx context.Context, r controller.Runtime) (spec.Node, error) {
	var n spec.Node

	_, err := os.Stat(c.IfInet6)
	n.IPv6 = err == nil

	host, err := reconcile.Find[*network.HostnameStatus](ctx, r, network.HostnameID)
	if err != nil {
		return n, err
	}

	if host != nil {
		n.Hostname = host.TypedSpec().Hostname
	}

	addresses, err := nodeAddresses(ctx, r)
	if err != nil {
		return n, err
	}

	if n.Routed = addresses[network.NodeAddressRoutedID]; len(n.Routed) == 0 {
		n.Routed = addresses[network.NodeAddressCurrentID]
	}

	if main := addresses[network.NodeAddressDefaultID]; len(main) > 0 {
		n.Default = main[0].Addr()
	}

	statuses, err := safe.ReaderListAll[*network.AddressStatus](ctx, r)
	if err != nil {
		return n, err
	}

	for status := range statuses.All() {
		if s := status.TypedSpec(); s.LinkName == "lo" {
			n.Loopback = append(n.Loopback, s.Address.Addr())
		}
	}

	return n, nil
}

func nodeAddresses(ctx context.Context, r controller.Reader) (map[string][]netip.Prefix, error) {
	list, err := safe.ReaderListAll[*network.NodeAddress](ctx, r)
	if err != nil {
		return nil, err
	}

	out := map[string][]netip.Prefix{}
	for res := range list.All() {
		out[res.Metadata().ID()] = res.TypedSpec().Addresses
	}

	return out, nil
}
