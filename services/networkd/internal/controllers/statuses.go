package controllers

import (
	"context"
	"slices"
	"strings"

	"github.com/cosi-project/runtime/pkg/resource"

	"github.com/dactyl-os/dactyl/proto/resource/network"
	"github.com/dactyl-os/dactyl/services/kit/reconcile"

	"github.com/dactyl-os/dactyl/services/networkd/internal/rtnl"
	"github.com/dactyl-os/dactyl/services/networkd/internal/spec"
	"github.com/dactyl-os/dactyl/services/networkd/internal/status"
)

// DiagnosticsAnnotation is set on NetworkStatus when something is asked for that is not (yet) done: one sentence a line.
const DiagnosticsAnnotation = "dactyl.dev/diagnostics"

// hostDNSID is the identifier of the one HostDNSConfig.
const hostDNSID = "config"

// Resume publishes what the last run of the daemon worked by, before the daemon serves: so its readers see no difference
// between before and after a restart. Nothing is published at the node's first start.
func (c *Configure) Resume(ctx context.Context) error {
	if len(c.Checkpoint.Value.Sets) == 0 {
		return nil
	}

	snapshot, err := c.Conn.Snapshot()
	if err != nil {
		return err
	}

	merged := c.merge()

	return c.Publish(ctx, merged, network.StatusSpec{EtcFilesReady: true}, snapshot, merged.Warnings)
}

// Publish writes specs and statuses.
func (c *Configure) Publish(
	ctx context.Context, merged spec.Set, ready network.StatusSpec, snapshot rtnl.Snapshot, problems []string,
) error {
	layers := append(slices.Clip(c.Checkpoint.Value.Sets), c.Leases.Sets(merged.DHCP)...)

	if err := asResources(layers, true).publish(ctx, c.out, network.ConfigNamespaceName); err != nil {
		return err
	}

	if err := asResources([]spec.Set{merged}, false).publish(ctx, c.out, network.NamespaceName); err != nil {
		return err
	}

	if err := c.publishStatuses(ctx, merged); err != nil {
		return err
	}

	ready.AddressReady, ready.ConnectivityReady = status.Ready(snapshot)
	ready.HostnameReady = merged.Hostname.Hostname != ""

	return c.publishStatus(ctx, ready, problems)
}

func (c *Configure) publishStatuses(ctx context.Context, merged spec.Set) error {
	hostnames := map[resource.ID]network.HostnameStatusSpec{}
	if h := merged.Hostname; h.Hostname != "" {
		hostnames[network.HostnameID] = network.HostnameStatusSpec{Hostname: h.Hostname, Domainname: h.Domainname}
	}

	resolvers := map[resource.ID]network.ResolverStatusSpec{
		network.ResolverID: {DNSServers: merged.Resolvers.Servers},
	}
	timeServers := map[resource.ID]network.TimeServerStatusSpec{
		network.TimeServerID: {NtpServers: merged.TimeServers.Servers},
	}

	if err := reconcile.Publish(ctx, c.out, network.NewHostnameStatus, network.NamespaceName, hostnames); err != nil {
		return err
	}

	if err := reconcile.Publish(ctx, c.out, network.NewResolverStatus, network.NamespaceName, resolvers); err != nil {
		return err
	}

	if err := reconcile.Publish(ctx, c.out, network.NewTimeServerStatus, network.NamespaceName, timeServers); err != nil {
		return err
	}

	// There is no resolver of the node's own yet, whatever machine.features.hostDNS asks for: clients read here that there is none.
	hostDNS := map[resource.ID]network.HostDNSConfigSpec{hostDNSID: {Enabled: false}}

	return reconcile.Publish(ctx, c.out, network.NewHostDNSConfig, network.NamespaceName, hostDNS)
}

func (c *Configure) publishStatus(ctx context.Context, ready network.StatusSpec, problems []string) error {
	return c.out.Modify(ctx, network.NewStatus(network.NamespaceName, network.StatusID), func(r resource.Resource) error {
		*r.(*network.Status).TypedSpec() = ready

		if len(problems) == 0 {
			r.Metadata().Annotations().Delete(DiagnosticsAnnotation)
		} else {
			r.Metadata().Annotations().Set(DiagnosticsAnnotation, strings.Join(problems, "\n"))
		}

		return nil
	})
}
