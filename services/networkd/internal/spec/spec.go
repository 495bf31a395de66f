// Package spec turns the sources of network configuration into layered specs and merges them. It is pure: text and
// facts in, specs and warnings out.
package spec

import (
	"net/netip"

	"github.com/dactyl-os/dactyl/proto/resource/enums"
	"github.com/dactyl-os/dactyl/proto/resource/network"
)

// Layer is where a spec comes from. A higher layer wins.
type Layer = enums.ConfigLayer

// The layers, lowest first.
const (
	Default       = enums.ConfigLayerDefault
	Cmdline       = enums.ConfigLayerCmdline
	Platform      = enums.ConfigLayerPlatform
	Operator      = enums.ConfigLayerOperator
	Configuration = enums.ConfigLayerMachineConfiguration
)

// Set is all that one source (or, merged, all sources) ask for.
type Set struct {
	Links       []Link      `json:"links,omitempty"`
	Addresses   []Address   `json:"addresses,omitempty"`
	Routes      []Route     `json:"routes,omitempty"`
	DHCP        []DHCP      `json:"dhcp,omitempty"`
	Hostname    Hostname    `json:"hostname"`
	Resolvers   Resolvers   `json:"resolvers"`
	TimeServers TimeServers `json:"timeServers"`
	Hosts       []Host      `json:"hosts,omitempty"`
	// NoSearchDomain leaves the domain out of resolv.conf.
	NoSearchDomain bool `json:"noSearchDomain,omitempty"`
	// Ignored links are left alone by every layer.
	Ignored []string `json:"ignored,omitempty"`
	// Warnings name settings that are not acted on, one sentence each.
	Warnings []string `json:"warnings,omitempty"`
}

// Link asks for an interface to be up, with an MTU (0: any).
type Link struct {
	Name  string `json:"name"`
	Up    bool   `json:"up"`
	MTU   uint32 `json:"mtu,omitempty"`
	Layer Layer  `json:"layer"`
}

// Address asks for an address on a link.
type Address struct {
	Link   string       `json:"link"`
	Prefix netip.Prefix `json:"prefix"`
	Layer  Layer        `json:"layer"`
}

// Route asks for a route; an invalid Dst is the default route of the gateway's family.
type Route struct {
	Dst      netip.Prefix `json:"dst"`
	Gateway  netip.Addr   `json:"gateway"`
	Source   netip.Addr   `json:"source"`
	Link     string       `json:"link"`
	Priority uint32       `json:"priority"`
	MTU      uint32       `json:"mtu,omitempty"`
	Layer    Layer        `json:"layer"`
}

// Reach gives a route with what it takes to reach its gateway from a subnet: one beyond it, as hosters with /32 addresses
// have, is on the link. Link-local ones always are.
func Reach(subnet netip.Prefix, route Route) []Route {
	gateway := route.Gateway
	if !gateway.IsValid() || subnet.Contains(gateway) || gateway.IsLinkLocalUnicast() {
		return []Route{route}
	}

	onLink := Route{Dst: netip.PrefixFrom(gateway, gateway.BitLen()), Link: route.Link, Priority: route.Priority, Layer: route.Layer}

	return []Route{onLink, route}
}

// Hostname asks for the node's name; empty: this source has no wish.
type Hostname struct {
	Hostname   string `json:"hostname"`
	Domainname string `json:"domainname,omitempty"`
	Layer      Layer  `json:"layer"`
}

// FQDN is the name with its domain.
func (h Hostname) FQDN() string {
	if h.Domainname == "" {
		return h.Hostname
	}

	return h.Hostname + "." + h.Domainname
}

// Resolvers asks for DNS servers.
type Resolvers struct {
	Servers []netip.Addr `json:"servers,omitempty"`
	Layer   Layer        `json:"layer"`
}

// TimeServers asks for NTP servers, as names or addresses.
type TimeServers struct {
	Servers []string `json:"servers,omitempty"`
	Layer   Layer    `json:"layer"`
}

// Host is a line of /etc/hosts.
type Host struct {
	IP      string   `json:"ip"`
	Aliases []string `json:"aliases"`
}

// ID is the address's resource ID: eth0/10.5.0.2/24.
func (a Address) ID() string { return network.AddressID(a.Link, a.Prefix) }

// Is6 tells the family.
func (r Route) Is6() bool {
	if r.Dst.IsValid() {
		return r.Dst.Addr().Is6()
	}

	return r.Gateway.Is6()
}

// ID is the route's resource ID: inet4/10.5.0.1//1024.
func (r Route) ID() string {
	return RouteID(enums.RoutingTableMain, r.Is6(), r.Dst, r.Gateway, r.Priority, r.Link)
}

// RouteID is the resource ID of a route. Only IPv6 ones name their link: the same destination exists on several.
// A default route's destination is empty.
func RouteID(table enums.RoutingTable, is6 bool, dst netip.Prefix, gateway netip.Addr, priority uint32, link string) string {
	family := enums.FamilyInet6
	if !is6 {
		family, link = enums.FamilyInet4, ""
	}

	if dst.Bits() == 0 {
		dst = netip.Prefix{}
	}

	return network.RouteID(table, family, dst, gateway, priority, link)
}

// Destination is Dst, or the default route's of the gateway's family.
func (r Route) Destination() netip.Prefix {
	switch {
	case r.Dst.IsValid():
		return r.Dst
	case r.Gateway.Is6():
		return netip.PrefixFrom(netip.IPv6Unspecified(), 0)
	default:
		return netip.PrefixFrom(netip.IPv4Unspecified(), 0)
	}
}
