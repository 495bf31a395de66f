// Package spec reads from the machine configuration and the state of the
// network what this node says of itself and how it looks for others. It is pure.
package spec

import (
	"cmp"
	"crypto/sha256"
	"encoding/base64"
	"net/netip"
	"net/url"
	"slices"
	"strings"

	"github.com/dactyl-os/dactyl/proto/config"
	"github.com/dactyl-os/dactyl/proto/resource/cluster"
	"github.com/dactyl-os/dactyl/proto/resource/enums"
	"github.com/dactyl-os/dactyl/proto/resource/runtime"
	"github.com/dactyl-os/dactyl/services/discoveryd/internal/gossip"
	"github.com/dactyl-os/dactyl/services/discoveryd/internal/record"
)

const defaultAPIServerPort = 6443

// Node is what networkd knows of this node.
type Node struct {
	Hostname   string
	Domainname string
	// Routed are the addresses by which others reach it, All also the rest.
	Routed, All []netip.Addr
	// Default is the address that stands for the node.
	Default netip.Addr
	// Status is init's word about the machine; nil before it has told.
	Status *runtime.MachineStatusSpec
}

// Info names the cluster.
func Info(c *config.Config) cluster.InfoSpec {
	return cluster.InfoSpec{ClusterID: c.Cluster().ID, ClusterName: c.Cluster().ClusterName}
}

// Discovery shows the configuration of discovery. The outside service of v1.8
// does not exist here: it is shown as off, whatever the configuration says.
func Discovery(c *config.Config) cluster.ConfigSpec {
	if !Enabled(c) {
		return cluster.ConfigSpec{}
	}

	key, err := base64.StdEncoding.DecodeString(c.Cluster().Secret)
	if err != nil {
		key = []byte(c.Cluster().Secret)
	}

	return cluster.ConfigSpec{DiscoveryEnabled: true, ServiceEncryptionKey: key, ServiceClusterID: c.Cluster().ID}
}

// Enabled tells whether the node looks for others: when the section is there and does not say no.
func Enabled(c *config.Config) bool {
	discovery := c.Cluster().Discovery

	return discovery != nil && config.Bool(discovery.Enabled, true)
}

// Record is what this node says of itself.
func Record(c *config.Config, node Node, version string) record.Record {
	r := record.Record{
		Hostname:        node.Hostname,
		Nodename:        strings.ToLower(node.Hostname),
		OperatingSystem: "Dactyl (" + version + ")",
		MachineType:     machineType(c),
		Addresses:       defaultFirst(own(c, node.Routed), node.Default),
		Health:          Health(node.Status),
	}

	if node.Hostname != "" && node.Domainname != "" {
		r.Hostname += "." + node.Domainname
	}

	if c.IsControlPlane() {
		r.APIServerPort = defaultAPIServerPort

		if controlPlane := c.Cluster().ControlPlane; controlPlane != nil {
			r.APIServerPort = cmp.Or(int32(controlPlane.LocalAPIServerPort), defaultAPIServerPort) //nolint:gosec // a validated port
		}
	}

	return r
}

// Health is how a node is, in one line: record.Ready, or its stage and what it lacks.
func Health(status *runtime.MachineStatusSpec) string {
	switch {
	case status == nil:
		return ""
	case status.Stage == enums.MachineStageRunning && status.Status.Ready:
		return record.Ready
	}

	words := []string{status.Stage.String()}
	for _, unmet := range status.Status.UnmetConditions {
		words = append(words, unmet.Name+" is "+unmet.Reason)
	}

	return strings.Join(strings.Fields(strings.Join(words, ", ")), " ")
}

// defaultFirst puts the address that stands for the node before the others: who reads the list tries it first.
func defaultFirst(addresses []netip.Addr, standing netip.Addr) []netip.Addr {
	if at := slices.Index(addresses, standing); at > 0 {
		addresses = slices.Insert(slices.Delete(addresses, at, at+1), 0, standing)
	}

	return addresses
}

func machineType(c *config.Config) int32 {
	parsed, err := enums.ParseMachineType(c.MachineType())
	if err != nil {
		return int32(enums.MachineTypeUnknown)
	}

	return int32(parsed) //nolint:gosec // 0 to 3
}

// Settings are how this node takes part in the gossip. The address told to the
// others is the node's default one: other addresses may be the same on every
// node. Else it stays as long as the node has it; otherwise it is the first.
func Settings(c *config.Config, node Node, current netip.Addr) gossip.Settings {
	settings := gossip.Settings{
		Enabled:  Enabled(c),
		Label:    c.Cluster().ID,
		Own:      node.All,
		Endpoint: endpoint(c),
	}

	if c.Cluster().Secret != "" {
		key := sha256.Sum256([]byte(c.Cluster().Secret))
		settings.Key = key[:]
	}

	if addresses := own(c, node.Routed); slices.Contains(addresses, node.Default) {
		settings.Advertise = node.Default
	} else if slices.Contains(addresses, current) {
		settings.Advertise = current
	} else if len(addresses) > 0 {
		settings.Advertise = addresses[0]
	}

	return settings
}

func endpoint(c *config.Config) string {
	controlPlane := c.Cluster().ControlPlane
	if controlPlane == nil {
		return ""
	}

	parsed, err := url.Parse(controlPlane.Endpoint)
	if err != nil {
		return ""
	}

	return parsed.Hostname()
}

// own leaves out what does not belong to this node alone: shared addresses and
// those of pods and services.
func own(c *config.Config, addresses []netip.Addr) []netip.Addr {
	shared := sharedAddresses(c)
	inner := innerSubnets(c)

	var list []netip.Addr

	for _, addr := range addresses {
		foreign := slices.Contains(shared, addr) || addr.IsLoopback() || addr.IsLinkLocalUnicast() ||
			slices.ContainsFunc(inner, func(subnet netip.Prefix) bool { return subnet.Contains(addr) })

		if !foreign && !slices.Contains(list, addr) {
			list = append(list, addr)
		}
	}

	return list
}

func sharedAddresses(c *config.Config) []netip.Addr {
	var shared []netip.Addr

	add := func(vip *config.DeviceVIPConfig) {
		if vip == nil {
			return
		}

		if addr, err := netip.ParseAddr(vip.IP); err == nil {
			shared = append(shared, addr)
		}
	}

	for _, device := range c.Network().Interfaces {
		add(device.VIP)

		for _, vlan := range device.Vlans {
			add(vlan.VIP)
		}
	}

	return shared
}

func innerSubnets(c *config.Config) []netip.Prefix {
	network := c.Cluster().Network
	if network == nil {
		return nil
	}

	var subnets []netip.Prefix

	for _, text := range slices.Concat(network.PodSubnets, network.ServiceSubnets) {
		if subnet, err := netip.ParsePrefix(text); err == nil {
			subnets = append(subnets, subnet)
		}
	}

	return subnets
}

// Affiliate is the resource form of a record.
func Affiliate(r record.Record) cluster.AffiliateSpec {
	return cluster.AffiliateSpec{
		NodeID: r.NodeID, Addresses: r.Addresses, Hostname: r.Hostname, Nodename: r.Nodename,
		OperatingSystem: r.OperatingSystem, MachineType: enums.MachineType(r.MachineType), ControlPlane: controlPlane(r), //nolint:gosec // an enumeration
	}
}

// Member is the resource form of a record that counts as a member.
func Member(r record.Record) cluster.MemberSpec {
	return cluster.MemberSpec{
		NodeID: r.NodeID, Addresses: r.Addresses, Hostname: r.Hostname,
		OperatingSystem: r.OperatingSystem, MachineType: enums.MachineType(r.MachineType), ControlPlane: controlPlane(r), //nolint:gosec // an enumeration
	}
}

func controlPlane(r record.Record) *cluster.ControlPlane {
	if r.APIServerPort == 0 {
		return nil
	}

	return &cluster.ControlPlane{APIServerPort: int(r.APIServerPort)}
}
