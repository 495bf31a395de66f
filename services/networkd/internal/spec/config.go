package spec

import (
	"fmt"
	"net/netip"
	"strings"

	"github.com/dactyl-os/dactyl/proto/config"
)

// routePriority is the metric of a route that names none.
const routePriority = 1024

// FromConfig reads machine.network and machine.time.servers. Settings that networkd cannot act on yet end in Warnings.
func FromConfig(cfg *config.MachineConfig, devices []Device) Set {
	b := &configReader{}

	if cfg == nil {
		return b.Set
	}

	if n := cfg.Network; n != nil {
		b.names(n)

		for i, d := range n.Interfaces {
			b.device(fmt.Sprintf("machine.network.interfaces[%d]", i), d, devices)
		}
	}

	if t := cfg.Time; t != nil {
		b.TimeServers = TimeServers{Servers: t.Servers, Layer: Configuration}
	}

	return b.Set
}

type configReader struct{ Set }

func (b *configReader) names(n *config.NetworkConfig) {
	name, err := ParseHostname(n.Hostname, "", Configuration)
	if err != nil {
		b.warn("machine.network.hostname: %v", err)
	}

	b.Hostname = name
	b.NoSearchDomain = isTrue(n.DisableSearchDomain)

	for i, text := range n.Nameservers {
		server, err := netip.ParseAddr(text)
		if err != nil {
			b.warn("machine.network.nameservers[%d]: %q is not an IP address", i, text)

			continue
		}

		b.Resolvers.Layer = Configuration
		b.Resolvers.Servers = append(b.Resolvers.Servers, server)
	}

	for _, h := range n.ExtraHostEntries {
		b.Hosts = append(b.Hosts, Host{IP: h.IP, Aliases: h.Aliases})
	}

	if k := n.KubeSpan; k != nil && isTrue(k.Enabled) {
		b.warn("machine.network.kubespan: not supported yet")
	}
}

func (b *configReader) device(where string, d *config.Device, devices []Device) {
	links := []string{d.Interface}

	if d.Interface == "" && d.DeviceSelector != nil {
		if links = selected(d.DeviceSelector, devices); len(links) == 0 {
			b.warn("%s.deviceSelector: no link matches", where)
		}
	}

	for _, name := range links {
		if isTrue(d.Ignore) {
			b.Ignored = append(b.Ignored, name)

			continue
		}

		b.link(where, name, d)
	}
}

func (b *configReader) link(where, name string, d *config.Device) {
	for _, setting := range unsupported(d) {
		b.warn("%s.%s (%s): not supported yet", where, setting, name)
	}

	b.Links = append(b.Links, Link{Name: name, Up: true, MTU: uint32(max(d.MTU, 0)), Layer: Configuration})
	b.dhcp(where, name, d)

	for i, text := range d.Addresses {
		prefix, err := ParseAddress(text)
		if err != nil {
			b.warn("%s.addresses[%d]: %v", where, i, err)

			continue
		}

		b.Addresses = append(b.Addresses, Address{Link: name, Prefix: prefix, Layer: Configuration})
	}

	for i, r := range d.Routes {
		route, err := parseRoute(name, r)
		if err != nil {
			b.warn("%s.routes[%d]: %v", where, i, err)

			continue
		}

		b.Routes = append(b.Routes, route)
	}
}

// unsupported lists the settings of a link that networkd knows of and does not act on.
func unsupported(d *config.Device) []string {
	var names []string

	for _, setting := range []struct {
		name string
		used bool
	}{
		{"bond", d.Bond != nil},
		{"bridge", d.Bridge != nil},
		{"vlans", len(d.Vlans) > 0},
		{"dummy", isTrue(d.Dummy)},
		{"wireguard", d.Wireguard != nil},
		{"vip", d.VIP != nil},
	} {
		if setting.used {
			names = append(names, setting.name)
		}
	}

	return names
}

// ParseAddress reads 10.5.0.2/24; an address alone is a host's.
func ParseAddress(text string) (netip.Prefix, error) {
	if prefix, err := netip.ParsePrefix(text); err == nil {
		return prefix, nil
	}

	addr, err := netip.ParseAddr(text)
	if err != nil || addr.Zone() != "" {
		return netip.Prefix{}, fmt.Errorf("%q is not an address with its subnet, as in 10.5.0.2/24", text)
	}

	return netip.PrefixFrom(addr, addr.BitLen()), nil
}

func parseRoute(link string, r *config.Route) (Route, error) {
	out := Route{Link: link, Priority: r.Metric, MTU: r.MTU, Layer: Configuration}
	if out.Priority == 0 {
		out.Priority = routePriority
	}

	var err error

	if r.Network != "" {
		if out.Dst, err = netip.ParsePrefix(r.Network); err != nil {
			return out, fmt.Errorf("network %q is not a subnet, as in 10.0.0.0/8", r.Network)
		}

		out.Dst = out.Dst.Masked()
	}

	if r.Gateway != "" {
		if out.Gateway, err = netip.ParseAddr(r.Gateway); err != nil {
			return out, fmt.Errorf("gateway %q is not an IP address", r.Gateway)
		}
	}

	if r.Source != "" {
		if out.Source, err = netip.ParseAddr(r.Source); err != nil {
			return out, fmt.Errorf("source %q is not an IP address", r.Source)
		}
	}

	if !out.Dst.IsValid() && !out.Gateway.IsValid() {
		return out, fmt.Errorf("neither network nor gateway is given")
	}

	if out.Gateway.IsValid() && out.Dst.IsValid() && out.Gateway.Is6() != out.Dst.Addr().Is6() {
		return out, fmt.Errorf("network %s and gateway %s are of two families", out.Dst, out.Gateway)
	}

	// The contract writes a default route without its destination.
	if out.Dst.Bits() == 0 && out.Gateway.IsValid() {
		out.Dst = netip.Prefix{}
	}

	return out, nil
}

// ParseHostname splits node.example.org into name and domain; domain counts if there is none in the text. What is no DNS name
// is left out and told: it would stand in /etc/hosts and /etc/resolv.conf.
func ParseHostname(text, domain string, layer Layer) (Hostname, error) {
	if text == "" {
		return Hostname{}, nil
	}

	if !config.IsDNSName(text) {
		return Hostname{}, fmt.Errorf("host name %q is no DNS name and is left out", text)
	}

	name, rest, _ := strings.Cut(strings.TrimSuffix(text, "."), ".")
	if rest != "" || domain == "" {
		return Hostname{Hostname: name, Domainname: rest, Layer: layer}, nil
	}

	if !config.IsDNSName(domain) {
		return Hostname{Hostname: name, Layer: layer}, fmt.Errorf("domain name %q is no DNS name and is left out", domain)
	}

	return Hostname{Hostname: name, Domainname: strings.TrimSuffix(domain, "."), Layer: layer}, nil
}

func isTrue(b *bool) bool { return b != nil && *b }
