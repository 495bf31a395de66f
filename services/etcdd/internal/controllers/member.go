package controllers

import (
	"context"
	"fmt"
	"net/netip"
	"time"

	"github.com/cosi-project/runtime/pkg/controller"
	"github.com/cosi-project/runtime/pkg/safe"
	"github.com/cosi-project/runtime/pkg/state"
	"go.uber.org/zap"

	"github.com/dactyl-os/dactyl/proto/resource/block"
	"github.com/dactyl-os/dactyl/proto/resource/cluster"
	"github.com/dactyl-os/dactyl/proto/resource/config"
	"github.com/dactyl-os/dactyl/proto/resource/enums"
	"github.com/dactyl-os/dactyl/proto/resource/etcd"
	"github.com/dactyl-os/dactyl/proto/resource/network"

	"github.com/dactyl-os/dactyl/services/etcdd/internal/engine"
	"github.com/dactyl-os/dactyl/services/etcdd/internal/keeper"
	"github.com/dactyl-os/dactyl/services/etcdd/internal/spec"
	"github.com/dactyl-os/dactyl/services/kit/reconcile"
)

// Member hands the keeper what it needs and publishes the member it keeps.
type Member struct {
	Keeper  *keeper.Keeper
	Changed <-chan struct{} // the keeper's status or Missing changed
	DataDir string
	Keys    engine.Keys
	// Missing tells why there is no specification yet, or none that follows a configuration which is wrong.
	Missing func() (text string, wrong bool)
	// OnDisk: the data directory is on a disk that is mounted some time after the start. What is there before is another one.
	OnDisk bool
}

// volume is what the data directory is on.
const volume = "EPHEMERAL"

const memberController = "etcdd.Member"

// Name is the owner of the outputs.
func (*Member) Name() string { return memberController }

// PublishMember tells of the member before the controller runs, so that a restart of the daemon does not take it away from
// readers. Nothing for the ID 0.
func PublishMember(ctx context.Context, local state.State, id uint64) error {
	if id == 0 {
		return nil
	}

	return local.Create(ctx, member(id), state.WithCreateOwner(memberController))
}

func member(id uint64) *etcd.Member {
	res := etcd.NewMember(etcd.NamespaceName, etcd.LocalMemberID)
	res.TypedSpec().MemberID = fmt.Sprintf("%016x", id)

	return res
}

// Inputs of the controller.
func (*Member) Inputs() []controller.Input {
	return []controller.Input{
		reconcile.Input(config.NamespaceName, config.MachineTypeType, config.MachineTypeID),
		reconcile.Input(etcd.NamespaceName, etcd.SpecType, etcd.SpecID),
		reconcile.Input(etcd.NamespaceName, etcd.PKIStatusType, etcd.PKIID),
		reconcile.Input(cluster.NamespaceName, cluster.MemberType, ""),
		reconcile.Input(network.NamespaceName, network.NodeAddressType, network.NodeAddressCurrentID),
		reconcile.Input(block.NamespaceName, block.VolumeStatusType, volume),
	}
}

// Outputs of the controller.
func (*Member) Outputs() []controller.Output { return exclusive(etcd.MemberType) }

// Run until ctx ends.
func (c *Member) Run(ctx context.Context, r controller.Runtime, _ *zap.Logger) error {
	return reconcile.Timed(ctx, r, c.Changed, func() (time.Duration, error) {
		in, err := c.input(ctx, r)
		if err != nil {
			return 0, err
		}

		c.Keeper.Set(in)

		return 0, c.publish(ctx, r)
	})
}

func (c *Member) publish(ctx context.Context, r controller.Runtime) error {
	status := c.Keeper.Status()
	out := member(status.Member)

	if status.Member == 0 {
		return retire(ctx, r, out.Metadata())
	}

	return safe.WriterModify(ctx, r, out, func(res *etcd.Member) error {
		*res.TypedSpec() = *out.TypedSpec()

		return nil
	})
}

func (c *Member) input(ctx context.Context, r controller.Runtime) (keeper.Input, error) {
	in := keeper.Input{ControlPlane: true, Settings: engine.Settings{DataDir: c.DataDir, Keys: c.Keys}}

	machineType, err := reconcile.Find[*config.MachineType](ctx, r, config.MachineTypeID)
	if err != nil {
		return in, err
	}

	if machineType == nil || machineType.TypedSpec().Value == enums.MachineTypeUnknown {
		in.Missing = "waiting for the machine configuration"

		return in, nil
	}

	if machineType.TypedSpec().Value == enums.MachineTypeWorker {
		in.ControlPlane = false

		return in, nil
	}

	if in.Missing, err = c.disk(ctx, r); in.Missing != "" || err != nil {
		return in, err
	}

	text, wrong := c.Missing()
	if wrong {
		in.Wrong = text
	}

	wanted, err := reconcile.Find[*etcd.Spec](ctx, r, etcd.SpecID)
	if err != nil {
		return in, err
	}

	keys, err := reconcile.Find[*etcd.PKIStatus](ctx, r, etcd.PKIID)
	if err != nil {
		return in, err
	}

	switch {
	case wanted == nil:
		in.Missing = text
	case keys == nil || !keys.TypedSpec().Ready:
		in.Missing = "waiting for etcd's certificates"
	default:
		in.Settings = c.settings(wanted.TypedSpec(), keys.TypedSpec().Version)
		in.Peers, err = peers(ctx, r, wanted.TypedSpec().AdvertisedAddresses)
	}

	return in, err
}

// disk says what is waited for until the data directory is there.
func (c *Member) disk(ctx context.Context, r controller.Reader) (string, error) {
	if !c.OnDisk {
		return "", nil
	}

	status, err := reconcile.Find[*block.VolumeStatus](ctx, r, volume)

	switch {
	case err != nil:
		return "", err
	case status == nil:
		return "waiting for " + volume, nil
	case status.TypedSpec().Phase != enums.VolumePhaseReady:
		return fmt.Sprintf("waiting for %s, which is %s", volume, status.TypedSpec().Phase), nil
	default:
		return "", nil
	}
}

func (c *Member) settings(s *etcd.SpecSpec, ca string) engine.Settings {
	return engine.Settings{
		Name: s.Name, DataDir: c.DataDir, Keys: c.Keys, CA: ca, ExtraArgs: s.ExtraArgs,
		ListenPeer:   urls(s.ListenPeerAddresses, engine.PeerPort),
		ListenClient: urls(s.ListenClientAddresses, engine.ClientPort),
		PeerURLs:     urls(s.AdvertisedAddresses, engine.PeerPort),
		ClientURLs:   urls(s.AdvertisedAddresses, engine.ClientPort),
	}
}

func urls(addrs []netip.Addr, port int) []string {
	var out []string
	for _, a := range addrs {
		out = append(out, engine.URL(a.String(), port))
	}

	return out
}

func peers(ctx context.Context, r controller.Runtime, advertised []netip.Addr) ([]netip.Addr, error) {
	list, err := safe.ReaderListAll[*cluster.Member](ctx, r)
	if err != nil {
		return nil, err
	}

	var members []cluster.MemberSpec
	for m := range list.All() {
		members = append(members, *m.TypedSpec())
	}

	current, err := reconcile.Find[*network.NodeAddress](ctx, r, network.NodeAddressCurrentID)
	if err != nil {
		return nil, err
	}

	own := advertised

	if current != nil {
		for _, p := range current.TypedSpec().Addresses {
			own = append(own[:len(own):len(own)], p.Addr())
		}
	}

	return spec.Peers(members, advertised, own), nil
}
