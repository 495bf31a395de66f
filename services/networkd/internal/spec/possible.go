package spec

import (
	"fmt"
	"net/netip"
)

// minMTU6 is the least a link has to carry for IPv6 (RFC 8200, section 5); the kernel takes IPv6 off one with less.
const minMTU6 = 1280

// leaveOut drops the addresses and routes that no kernel takes, whichever source they come from, and says why: they would be tried for
// ever. A new configuration with one is refused before; one that is stored, META, the kernel command line and a DHCP server may still have it.
func (s *Set) leaveOut() {
	mtu := map[string]uint32{}
	for _, l := range s.Links {
		mtu[l.Name] = l.MTU
	}

	var addresses []Address

	for _, a := range s.Addresses {
		if why := impossible(a.Prefix.Addr()); why != "" {
			s.warn("address %s of %s is %s and is left out", a.Prefix, a.Link, why)
		} else if m := mtu[a.Link]; a.Prefix.Addr().Is6() && m != 0 && m < minMTU6 {
			s.warn("address %s of %s is left out: IPv6 needs an MTU of at least %d, and %d is asked for", a.Prefix, a.Link, minMTU6, m)
		} else {
			addresses = append(addresses, a)
		}
	}

	var routes []Route

	for _, r := range s.Routes {
		if why := r.impossible(); why != "" {
			s.warn("route to %s of %s is left out: %s", r.Destination(), r.Link, why)
		} else {
			routes = append(routes, r)
		}
	}

	s.Addresses, s.Routes = addresses, routes
}

func (s *Set) warn(format string, args ...any) {
	s.Warnings = append(s.Warnings, fmt.Sprintf(format, args...))
}

// impossible says why an address cannot be one of a machine; empty: it can.
func impossible(a netip.Addr) string {
	switch {
	case !a.IsValid(), a.IsUnspecified():
		return "no address"
	case a.IsMulticast():
		return "a group's (multicast), not a machine's"
	case a.Is4In6():
		return "an IPv4 address written as IPv6"
	default:
		return ""
	}
}

func (r Route) impossible() string {
	for _, part := range []struct {
		name string
		addr netip.Addr
	}{{"gateway", r.Gateway}, {"source", r.Source}} {
		if !part.addr.IsValid() {
			continue
		}

		if why := impossible(part.addr); why != "" {
			return fmt.Sprintf("its %s %s is %s", part.name, part.addr, why)
		}

		if part.addr.Is6() != r.Is6() {
			return fmt.Sprintf("its %s %s is of the other IP version", part.name, part.addr)
		}
	}

	if r.Dst.IsValid() && r.Dst.Addr().Is4In6() {
		return "its destination is an IPv4 subnet written as IPv6"
	}

	return ""
}
