// Package spec makes the specification of the etcd member from the machine configuration and what the node has. Pure.
package spec

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"

	"go.etcd.io/etcd/api/v3/version"

	"github.com/dactyl-os/dactyl/proto/config"
	"github.com/dactyl-os/dactyl/proto/resource/cluster"
	"github.com/dactyl-os/dactyl/proto/resource/enums"
	"github.com/dactyl-os/dactyl/proto/resource/etcd"
)

// Image names the etcd that is built in, in the words of tools that expect an image.
func Image() string { return "gcr.io/etcd-development/etcd:v" + version.Version }

// Config is what the machine configuration says about etcd.
func Config(c *config.Config) etcd.ConfigSpec {
	e := c.Cluster().Etcd
	if e == nil {
		e = &config.EtcdConfig{}
	}

	spec := etcd.ConfigSpec{Image: e.Image, ExtraArgs: maps.Clone(e.ExtraArgs)}
	if spec.Image == "" {
		spec.Image = Image()
	}

	spec.AdvertiseValidSubnets, spec.AdvertiseExcludeSubnets = split(e.AdvertisedSubnets)
	spec.ListenValidSubnets, spec.ListenExcludeSubnets = split(e.ListenSubnets)

	return spec
}

// split separates subnets from those that a leading "!" excludes.
func split(subnets []string) (valid, exclude []string) {
	for _, s := range subnets {
		if rest, ok := strings.CutPrefix(s, "!"); ok {
			exclude = append(exclude, rest)
		} else {
			valid = append(valid, s)
		}
	}

	return valid, exclude
}

// Node is what the member's specification needs to know about the node.
type Node struct {
	Hostname string
	// Routed are the addresses others may reach, Default the node's main one, Loopback those on the link lo.
	Routed   []netip.Prefix
	Default  netip.Addr
	Loopback []netip.Addr
	// IPv6 tells whether the kernel can listen on "::".
	IPv6 bool
}

// Member makes the specification; missing says what is waited for when it cannot be made yet.
func Member(c etcd.ConfigSpec, n Node) (spec etcd.SpecSpec, missing string, err error) {
	if n.Hostname == "" {
		return spec, "waiting for the hostname", nil
	}

	advertise, err := newFilter(c.AdvertiseValidSubnets, c.AdvertiseExcludeSubnets)
	if err != nil {
		return spec, "", fmt.Errorf("cluster.etcd.advertisedSubnets: %w", err)
	}

	listen, err := newFilter(c.ListenValidSubnets, c.ListenExcludeSubnets)
	if err != nil {
		return spec, "", fmt.Errorf("cluster.etcd.listenSubnets: %w", err)
	}

	candidates := usable(n)
	spec = etcd.SpecSpec{Name: n.Hostname, Image: c.Image, ExtraArgs: maps.Clone(c.ExtraArgs)}

	if spec.AdvertisedAddresses = advertised(advertise, candidates, n.Default); len(spec.AdvertisedAddresses) == 0 {
		if len(candidates) > 0 {
			return spec, "", fmt.Errorf("cluster.etcd.advertisedSubnets: %w", advertise.mismatch(candidates))
		}

		return spec, "waiting for an address to advertise", nil
	}

	if listen.empty() {
		spec.ListenPeerAddresses = []netip.Addr{wildcard(n.IPv6)}
		spec.ListenClientAddresses = spec.ListenPeerAddresses

		return spec, "", nil
	}

	spec.ListenPeerAddresses = listen.apply(candidates)
	if len(spec.ListenPeerAddresses) == 0 {
		return spec, "", fmt.Errorf("cluster.etcd.listenSubnets: %w", listen.mismatch(candidates))
	}

	// Tools on the node itself find etcd on the loopback address.
	spec.ListenClientAddresses = append(slices.Clone(spec.ListenPeerAddresses), netip.AddrFrom4([4]byte{127, 0, 0, 1}))

	return spec, "", nil
}

func usable(n Node) []netip.Addr {
	var out []netip.Addr

	for _, p := range n.Routed {
		a := p.Addr()
		if !a.IsLoopback() && !a.IsLinkLocalUnicast() && !slices.Contains(n.Loopback, a) {
			out = append(out, a)
		}
	}

	return out
}

// advertised gives all addresses in the subnets asked for; without any, one: the node's main address or the first.
func advertised(f filter, candidates []netip.Addr, main netip.Addr) []netip.Addr {
	matching := f.apply(candidates)
	if len(f.valid) > 0 || len(matching) == 0 {
		return matching
	}

	if slices.Contains(matching, main) {
		return []netip.Addr{main}
	}

	for _, a := range matching {
		if a.Is4() {
			return []netip.Addr{a}
		}
	}

	return matching[:1]
}

func wildcard(ipv6 bool) netip.Addr {
	if ipv6 {
		return netip.IPv6Unspecified()
	}

	return netip.IPv4Unspecified()
}

type filter struct{ valid, exclude []netip.Prefix }

func newFilter(valid, exclude []string) (f filter, err error) {
	if f.valid, err = prefixes(valid); err != nil {
		return f, err
	}

	f.exclude, err = prefixes(exclude)

	return f, err
}

func prefixes(texts []string) ([]netip.Prefix, error) {
	var out []netip.Prefix

	for _, text := range texts {
		p, err := netip.ParsePrefix(text)
		if err != nil {
			return nil, fmt.Errorf("subnet %q: %w", text, err)
		}

		out = append(out, p)
	}

	return out, nil
}

func (f filter) empty() bool { return len(f.valid)+len(f.exclude) == 0 }

func (f filter) apply(addrs []netip.Addr) []netip.Addr {
	var out []netip.Addr

	for _, a := range addrs {
		in := func(p netip.Prefix) bool { return p.Contains(a) }
		if (len(f.valid) == 0 || slices.ContainsFunc(f.valid, in)) && !slices.ContainsFunc(f.exclude, in) {
			out = append(out, a)
		}
	}

	return out
}

func (f filter) mismatch(addrs []netip.Addr) error {
	var wanted []string
	for _, p := range f.valid {
		wanted = append(wanted, p.String())
	}

	for _, p := range f.exclude {
		wanted = append(wanted, "!"+p.String())
	}

	return fmt.Errorf("no address of this node is in %s: it has %v", strings.Join(wanted, ", "), addrs)
}

// Peers are the addresses of the other control plane nodes. A node is known by its advertised address: addresses that a
// configuration puts on lo are often the same everywhere, and would only lead back here.
func Peers(members []cluster.MemberSpec, advertised, own []netip.Addr) []netip.Addr {
	var out []netip.Addr

	for _, m := range members {
		controlPlane := m.MachineType == enums.MachineTypeControlPlane || m.MachineType == enums.MachineTypeInit
		if !controlPlane || slices.ContainsFunc(m.Addresses, func(a netip.Addr) bool { return slices.Contains(advertised, a) }) {
			continue
		}

		for _, a := range m.Addresses {
			if !slices.Contains(own, a) {
				out = append(out, a)
			}
		}
	}

	return out
}
