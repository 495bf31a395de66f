package config

import (
	"fmt"
	"net/netip"
	"path"
	"regexp"

	"github.com/dactyl-os/dactyl/proto/config/internal/tree"
)

// unusable says why no link, gateway or packet can have an address; "" if it can.
func unusable(addr netip.Addr) string {
	switch {
	case addr.Is4In6():
		return "is an IPv4 address in IPv6's form"
	case addr.IsUnspecified():
		return "is nobody's address"
	case addr.IsMulticast():
		return "is a multicast address"
	default:
		return ""
	}
}

// own checks an address that a link or a machine shall have; one that is none is told elsewhere.
func own(v *validator, path *tree.Path, text string) {
	if addr, ok := anyAddress(text); ok && unusable(addr) != "" {
		hint := ""
		if addr.Is4In6() {
			hint = "write " + addr.Unmap().String()
		}

		v.fail(path, fmt.Sprintf("%q %s", text, unusable(addr)), hint)
	}
}

// anyAddress reads an address with or without a prefix length.
func anyAddress(text string) (netip.Addr, bool) {
	prefix, err := ParseAddress(text)

	return prefix.Addr(), err == nil
}

func (v *validator) routes(path *tree.Path, routes []*Route) {
	for i, route := range routes {
		at := path.Index(i)
		optional(v, at.Key("network"), route.Network, prefix)
		optional(v, at.Key("gateway"), route.Gateway, ip)
		optional(v, at.Key("source"), route.Source, ip)
		own(v, at.Key("gateway"), route.Gateway)
		own(v, at.Key("source"), route.Source)
		v.oneFamily(at, route)

		if route.Network == "" && route.Gateway == "" {
			v.fail(at, "neither network nor gateway", "name a network, a gateway or both")
		}
	}
}

// oneFamily wants network, gateway and source of a route to be of one IP family.
func (v *validator) oneFamily(path *tree.Path, route *Route) {
	var first netip.Addr

	for _, part := range []struct{ field, text string }{{"network", route.Network}, {"gateway", route.Gateway}, {"source", route.Source}} {
		addr, ok := anyAddress(part.text)

		switch {
		case !ok:
		case part.field == "network" && addr.Is4In6():
			v.fail(path.Key(part.field), fmt.Sprintf("%q %s", part.text, unusable(addr)), "write "+addr.Unmap().String())
		case !first.IsValid():
			first = addr
		case addr.Is4() != first.Is4():
			v.fail(path.Key(part.field), fmt.Sprintf("%q and %s are of two IP families", part.text, first), "a route is all IPv4 or all IPv6")
		}
	}
}

// mtu checks a link's largest packet; the kernel takes IPv6 off a link with less than 1280 bytes (RFC 8200, section 5).
func (v *validator) mtu(path *tree.Path, mtu int, addresses []string) {
	within(v, path.Key("mtu"), mtu, 68, 65536)

	for _, text := range addresses {
		if addr, ok := anyAddress(text); ok && addr.Is6() && mtu > 0 && mtu < 1280 {
			v.fail(path.Key("mtu"), fmt.Sprintf("%d is too small for the IPv6 address %s", mtu, text), "IPv6 needs 1280 at least")

			return
		}
	}
}

// Patterns of hardware addresses and PCI identifiers: their digits, colons and what patterns are made of.
var (
	hexPattern = regexp.MustCompile(`^(?:[0-9a-fA-F:*?]|\[[0-9a-fA-F^-]+\])+$`)
	wholeMAC   = regexp.MustCompile(`^(?i:[0-9a-f]{2})(?i::[0-9a-f]{2}){5,19}$`)
	wildcard   = regexp.MustCompile(`[*?[]`)
)

// selector finds patterns that no link can match.
func (v *validator) selector(at *tree.Path, s *NetworkDeviceSelector) {
	for _, part := range []struct{ field, pattern string }{
		{"busPath", s.BusPath}, {"hardwareAddr", s.HardwareAddr}, {"pciID", s.PCIID}, {"driver", s.Driver},
	} {
		where, pattern := at.Key(part.field), part.pattern
		_, err := path.Match(pattern, "")

		switch {
		case pattern == "":
		case err != nil:
			v.fail(where, fmt.Sprintf("%q is not a pattern", pattern), "a bracket is not closed")
		case part.field == "hardwareAddr" && (!hexPattern.MatchString(pattern) || !wildcard.MatchString(pattern) && !wholeMAC.MatchString(pattern)):
			v.fail(where, fmt.Sprintf("no link matches %q", pattern), "write it like 02:00:0a:* or 02:00:0a:05:00:02, with colons")
		case part.field == "pciID" && !hexPattern.MatchString(pattern):
			v.fail(where, fmt.Sprintf("no link matches %q", pattern), "write it like 8086:* or 1af4:1000")
		}
	}
}
