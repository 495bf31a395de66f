package plan

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

// Numbers of linux/rtnetlink.h that the plan has to know.
const (
	ScopeUniverse = 0
	ScopeLink     = 253
	ScopeHost     = 254

	TableMain = 254

	TypeUnicast = 1

	ProtocolKernel = 2
	ProtocolStatic = 4

	// metricDefault6 is what the kernel makes of an IPv6 route without metric.
	metricDefault6 = 1024
)

// Link is a network interface's administrative state. MTU 0 means any.
type Link struct {
	Name string
	Up   bool
	MTU  uint32
}

// Address is an address on a link.
type Address struct {
	Link   string
	Prefix netip.Prefix
	Scope  uint8
	// Temporary is set on an observed address whose lifetime ends.
	Temporary bool
}

// Key tells addresses of one node apart.
func (a Address) Key() string { return a.Link + "/" + a.Prefix.String() }

// Route is a route; Dst is never invalid (a default route is 0.0.0.0/0 or ::/0).
type Route struct {
	Table    uint32
	Dst      netip.Prefix
	Gateway  netip.Addr
	Src      netip.Addr
	Link     string
	Metric   uint32
	MTU      uint32
	Scope    uint8
	Type     uint8
	Protocol uint8
}

// Key tells routes of one node apart; attributes that can be changed in place are not part of it.
func (r Route) Key() string {
	return r.Dst.String() + " via " + r.Gateway.String() + " dev " + r.Link +
		" metric " + strconv.FormatUint(uint64(r.Metric), 10) + " table " + strconv.FormatUint(uint64(r.Table), 10)
}

// slot is a place in the kernel's tables: a second route for it replaces the first.
type slot struct {
	table, metric uint32
	dst           netip.Prefix
	link          string
}

func (r Route) slot() slot {
	s := slot{table: r.Table, metric: r.Metric, dst: r.Dst}

	// IPv6 link-local destinations exist once a link.
	if r.Dst.Addr().Is6() && !r.Gateway.IsValid() {
		s.link = r.Link
	}

	return s
}

// String is the route as `ip route` takes it.
func (r Route) String() string {
	var s strings.Builder

	if r.Dst.Bits() == 0 {
		s.WriteString("default")
	} else {
		s.WriteString(r.Dst.String())
	}

	if r.Gateway.IsValid() {
		fmt.Fprintf(&s, " via %s", r.Gateway)
	}

	if r.Link != "" {
		fmt.Fprintf(&s, " dev %s", r.Link)
	}

	if r.Src.IsValid() {
		fmt.Fprintf(&s, " src %s", r.Src)
	}

	if r.Metric != 0 {
		fmt.Fprintf(&s, " metric %d", r.Metric)
	}

	if r.MTU != 0 {
		fmt.Fprintf(&s, " mtu %d", r.MTU)
	}

	if r.Table != TableMain {
		fmt.Fprintf(&s, " table %d", r.Table)
	}

	return s.String()
}

// normalized fills in what the kernel would, so that a wanted route equals the observed one.
func normalized(routes []Route, addresses []Address) []Route {
	out := make([]Route, 0, len(routes))

	for _, r := range routes {
		if !r.Dst.IsValid() {
			continue
		}

		r.Dst = r.Dst.Masked()
		r.Link = cmp.Or(r.Link, linkTo(r.Gateway, addresses))
		r.Table = cmp.Or(r.Table, TableMain)
		r.Type = cmp.Or(r.Type, TypeUnicast)
		r.Protocol = cmp.Or(r.Protocol, ProtocolStatic)

		switch {
		case r.Dst.Addr().Is6():
			r.Scope = ScopeUniverse
			r.Metric = cmp.Or(r.Metric, metricDefault6)
		case !r.Gateway.IsValid() && r.Scope == ScopeUniverse && r.Type == TypeUnicast:
			r.Scope = ScopeLink
		}

		out = append(out, r)
	}

	return out
}

// linkTo finds the link whose subnet the gateway is in.
func linkTo(gateway netip.Addr, addresses []Address) string {
	for _, a := range slices.SortedFunc(slices.Values(addresses), compareAddresses) {
		if a.Prefix.Contains(gateway) {
			return a.Link
		}
	}

	return ""
}

// Op is one change of the kernel's state; String is the `ip` command that would do the same.
type Op interface{ fmt.Stringer }

// LinkSet brings a link up (when Up is set) and sets its MTU (when not 0).
type LinkSet struct {
	Name string
	Up   bool
	MTU  uint32
}

// AddrAdd adds an address or makes a temporary one permanent.
type AddrAdd struct{ Address }

// AddrDel removes an address.
type AddrDel struct{ Address }

// RouteReplace adds a route or puts it in the place of the one with its destination and metric.
type RouteReplace struct{ Route }

// RouteDel removes a route.
type RouteDel struct{ Route }

func (op LinkSet) String() string {
	s := "link set " + op.Name
	if op.MTU != 0 {
		s += fmt.Sprintf(" mtu %d", op.MTU)
	}

	if op.Up {
		s += " up"
	}

	return s
}

func (op AddrAdd) String() string { return "addr replace " + op.Prefix.String() + " dev " + op.Link }

func (op AddrDel) String() string { return "addr del " + op.Prefix.String() + " dev " + op.Link }

func (op RouteReplace) String() string { return "route replace " + op.Route.String() }

func (op RouteDel) String() string { return "route del " + op.Route.String() }

// compareLinks puts lo first: much else on a node needs it.
func compareLinks(a, b Link) int {
	return cmp.Or(
		-cmp.Compare(isLoopback(a.Name), isLoopback(b.Name)),
		cmp.Compare(a.Name, b.Name),
		cmp.Compare(b.MTU, a.MTU),
	)
}

func isLoopback(name string) int {
	if name == "lo" {
		return 1
	}

	return 0
}

func compareAddresses(a, b Address) int {
	return cmp.Or(compareLinks(Link{Name: a.Link}, Link{Name: b.Link}), comparePrefixes(a.Prefix, b.Prefix))
}

// compareRoutes puts routes without a gateway first: they may make the others' gateways reachable.
func compareRoutes(a, b Route) int {
	return cmp.Or(
		cmp.Compare(hops(a), hops(b)),
		cmp.Compare(a.Table, b.Table),
		comparePrefixes(a.Dst, b.Dst),
		cmp.Compare(a.Metric, b.Metric),
		a.Gateway.Compare(b.Gateway),
		cmp.Compare(a.Link, b.Link),
		a.Src.Compare(b.Src),
		cmp.Compare(a.MTU, b.MTU),
		cmp.Compare(a.Protocol, b.Protocol),
		cmp.Compare(a.Type, b.Type),
		cmp.Compare(a.Scope, b.Scope),
	)
}

func hops(r Route) int {
	if r.Gateway.IsValid() {
		return 1
	}

	return 0
}

func comparePrefixes(a, b netip.Prefix) int {
	return cmp.Or(a.Addr().Compare(b.Addr()), cmp.Compare(a.Bits(), b.Bits()))
}
