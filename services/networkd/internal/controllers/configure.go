package controllers

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/cosi-project/runtime/pkg/controller"
	"github.com/cosi-project/runtime/pkg/resource"
	"github.com/cosi-project/runtime/pkg/safe"
	"github.com/cosi-project/runtime/pkg/state"
	"go.uber.org/zap"

	machineconfig "github.com/dactyl-os/dactyl/proto/config"
	"github.com/dactyl-os/dactyl/proto/resource/network"
	"github.com/dactyl-os/dactyl/proto/resource/runtime"
	"github.com/dactyl-os/dactyl/services/kit/backoff"
	"github.com/dactyl-os/dactyl/services/kit/cmdline"
	"github.com/dactyl-os/dactyl/services/kit/reconcile"

	"github.com/dactyl-os/dactyl/services/networkd/internal/checkpoint"
	"github.com/dactyl-os/dactyl/services/networkd/internal/dhcp"
	"github.com/dactyl-os/dactyl/services/networkd/internal/host"
	"github.com/dactyl-os/dactyl/services/networkd/internal/plan"
	"github.com/dactyl-os/dactyl/services/networkd/internal/rtnl"
	"github.com/dactyl-os/dactyl/services/networkd/internal/spec"
)

// Operations that fail are tried again after retryFirst, then at doubled times up to retryMax, and at every change.
const (
	retryFirst = 250 * time.Millisecond
	retryMax   = 30 * time.Second
)

// patientUntil is the pause that some ten seconds without an answer of configd come to.
const patientUntil = 8 * time.Second

// rounds bounds how often the plan is made anew within one reconciliation: an operation may have side effects.
const rounds = 3

// Configure makes the network what the sources ask for: kernel command line, META, machine configuration, defaults.
//
// Inputs: MachineConfig, MetaKey (configd); LinkStatus, AddressStatus, RouteStatus (own) as signs of change; NodeAddress (own).
// Outputs: the specs of each layer (namespace network-config) and merged (network), HostnameStatus, ResolverStatus,
// TimeServerStatus, HostDNSConfig, NetworkStatus; the kernel, /etc/hosts, /etc/resolv.conf.
type Configure struct {
	Conn       *rtnl.Conn
	Cmdline    cmdline.Parameters
	Checkpoint *checkpoint.File[checkpoint.Network]
	Leases     *dhcp.Operators
	Host       host.Host
	Sysfs      string
	Log        *slog.Logger

	local  state.State
	out    reconcile.Publisher
	config *machineconfig.Config // the last one known
	meta   parsedMeta
	told   reconcile.Told
	seen   map[string]bool // links that had a carrier
	retry  backoff.Backoff
}

// NewConfigure gives the controller its store.
func NewConfigure(c Configure, local state.State) *Configure {
	c.local = local
	c.out = reconcile.NewPublisher(local, c.Name())
	c.seen, c.retry = map[string]bool{}, backoff.Backoff{First: retryFirst, Most: retryMax}

	return &c
}

// Name is the owner of the outputs.
func (*Configure) Name() string { return "network.ConfigureController" }

// Inputs of the controller.
func (*Configure) Inputs() []controller.Input {
	own := func(typ resource.Type) controller.Input { return reconcile.Input(network.NamespaceName, typ, "") }

	return []controller.Input{
		reconcile.MachineConfigInput(),
		reconcile.Input(runtime.NamespaceName, runtime.MetaKeyType, spec.MetaKey),
		own(network.LinkStatusType), own(network.AddressStatusType), own(network.RouteStatusType), own(network.NodeAddressType),
	}
}

// Outputs of the controller.
func (*Configure) Outputs() []controller.Output {
	var outputs []controller.Output

	for _, typ := range []resource.Type{
		network.LinkSpecType, network.AddressSpecType, network.RouteSpecType, network.OperatorSpecType,
		network.HostnameSpecType, network.ResolverSpecType, network.TimeServerSpecType,
		network.HostnameStatusType, network.ResolverStatusType, network.TimeServerStatusType, network.HostDNSConfigType, network.StatusType,
	} {
		outputs = append(outputs, controller.Output{Type: typ, Kind: controller.OutputShared})
	}

	return outputs
}

// Run reconciles on every event until ctx ends.
func (c *Configure) Run(ctx context.Context, r controller.Runtime, _ *zap.Logger) error {
	return reconcile.Timed(ctx, r, c.Leases.Changed(), func() (time.Duration, error) {
		failed, err := c.reconcile(ctx, r)
		if err != nil {
			return 0, err
		}

		return c.backoff(failed), nil
	})
}

func (c *Configure) backoff(failed bool) time.Duration {
	if failed {
		return c.retry.Next()
	}

	c.retry.Reset()

	return time.Hour
}

// reconcile reports whether operations failed that are worth another try.
func (c *Configure) reconcile(ctx context.Context, r controller.Reader) (failed bool, err error) {
	cfg, configErr := c.machineConfig(ctx, r)
	platform, metaErr := c.platform(ctx, r)

	snapshot, err := c.Conn.Latest()
	if err != nil {
		return false, err
	}

	c.sources(cfg, platform, snapshot)
	merged := c.merge()

	snapshot, waiting, applyErr := c.apply(merged, snapshot)
	filesErr := c.files(ctx, merged)

	// A configuration that could not be read may say that no server is to be asked.
	if configErr == nil && metaErr == nil {
		c.Leases.Want(c.reachable(merged.DHCP, snapshot))
	}

	problems := append(merged.Warnings, waiting...)
	for _, err := range []error{configErr, metaErr, applyErr, filesErr} {
		problems = append(problems, lines(err)...)
	}

	// While a machine starts, configd looks for the disks before it answers: that is told when it takes longer than usual.
	if configErr == nil || c.retry.Last() >= patientUntil {
		c.tell(problems)
	}

	err = c.Publish(ctx, merged, network.StatusSpec{EtcFilesReady: filesErr == nil}, snapshot, problems)

	return configErr != nil || metaErr != nil || applyErr != nil || filesErr != nil, err
}

// reachable leaves out the links whose other end was not there yet. One that goes away keeps its lease.
func (c *Configure) reachable(links []spec.DHCP, snapshot rtnl.Snapshot) []dhcp.Wanted {
	var out []dhcp.Wanted

	for _, d := range links {
		w := dhcp.Wanted{DHCP: d}

		if i := slices.IndexFunc(snapshot.Links, func(l rtnl.Link) bool { return l.Name == d.Link }); i >= 0 {
			l := snapshot.Links[i]
			w.CarrierUps = l.CarrierUps
			c.seen[d.Link] = c.seen[d.Link] || l.Up() && l.Carrier()
		}

		if c.seen[d.Link] = c.seen[d.Link] || c.Leases.Holds(d.Link); c.seen[d.Link] {
			out = append(out, w)
		}
	}

	return out
}

// apply leads the kernel to the merged specs and gives its state afterwards.
func (c *Configure) apply(merged spec.Set, snapshot rtnl.Snapshot) (rtnl.Snapshot, []string, error) {
	want := desired(merged, c.Checkpoint.Value.Complete, c.Leases.Ended()...)

	var err error

	for range rounds {
		p := plan.New(want, snapshot.Observed(), c.Checkpoint.Value.Owned)
		before := c.Checkpoint.Value.Owned
		c.Checkpoint.Value.Owned = p.Owned

		if len(p.Ops) == 0 {
			return snapshot, p.Waiting, errors.Join(err, c.Checkpoint.Save())
		}

		// Until the operations are done, what is being removed is still ours.
		c.Checkpoint.Value.Owned = plan.Union(before, p.Owned)
		if err := c.Checkpoint.Save(); err != nil {
			return snapshot, p.Waiting, err
		}

		started := time.Now()
		err = c.Conn.Apply(snapshot, p.Ops)
		c.Log.Info("applied network operations", "count", len(p.Ops), "took", time.Since(started), "operations", brief(p.Ops))

		next, snapErr := c.Conn.Applied()
		if snapErr != nil {
			return snapshot, p.Waiting, errors.Join(err, snapErr)
		}

		snapshot = next
		if err != nil {
			return snapshot, p.Waiting, err
		}
	}

	return snapshot, nil, errors.New("the kernel's network state does not settle: another program may be changing it")
}

// brief keeps the log line of a hundred addresses readable.
func brief(ops []plan.Op) []string {
	const most = 8

	var out []string

	for i, op := range ops {
		if i == most {
			return append(out, fmt.Sprintf("and %d more", len(ops)-most))
		}

		out = append(out, op.String())
	}

	return out
}

func (c *Configure) files(ctx context.Context, merged spec.Set) error {
	address, err := c.defaultAddress(ctx)
	if err != nil {
		return err
	}

	search := merged.Hostname.Domainname
	if merged.NoSearchDomain {
		search = ""
	}

	return errors.Join(
		c.Host.SetHostname(merged.Hostname.Hostname, merged.Hostname.Domainname),
		c.Host.WriteFile("etc/resolv.conf", host.ResolvConf(merged.Resolvers.Servers, search)),
		c.Host.WriteFile("etc/hosts", host.Hosts(merged.Hostname, address, merged.Hosts)),
	)
}

func (c *Configure) defaultAddress(ctx context.Context) (netip.Addr, error) {
	res, err := safe.StateGetByID[*network.NodeAddress](ctx, c.local, network.NodeAddressDefaultID)

	switch {
	case state.IsNotFoundError(err):
		return netip.Addr{}, nil
	case err != nil:
		return netip.Addr{}, err
	case len(res.TypedSpec().Addresses) == 0:
		return netip.Addr{}, nil
	default:
		return res.TypedSpec().Addresses[0].Addr(), nil
	}
}

// tell logs each problem once, until it is gone and comes back.
func (c *Configure) tell(problems []string) {
	for _, p := range c.told.Fresh(problems) {
		c.Log.Warn("network configuration is not fully applied", "problem", p)
	}
}

// lines splits a joined error into its parts.
func lines(err error) []string {
	if err == nil {
		return nil
	}

	return strings.Split(err.Error(), "\n")
}
