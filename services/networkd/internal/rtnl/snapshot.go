package rtnl

import (
	"cmp"
	"fmt"
	"net"
	"net/netip"
	"slices"

	"github.com/jsimonetti/rtnetlink/v2"
	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"

	"github.com/dactyl-os/dactyl/services/networkd/internal/plan"
)

// Snapshot is the network state of the namespace.
type Snapshot struct {
	Links     []Link
	Addresses []Address
	Routes    []Route
}

// Link is a network interface.
type Link struct {
	Index, ParentIndex, MasterIndex uint32
	Name                            string
	// Type is ARPHRD_*, Kind the driver family (veth, bridge, …) or "" for hardware, SlaveKind that of its master.
	Type            uint16
	Kind, SlaveKind string
	Flags           uint32
	MTU             uint32
	QueueDisc       string
	OperState       uint8
	// CarrierUps is how often the other end has come.
	CarrierUps uint32

	HardwareAddr, PermanentAddr, BroadcastAddr net.HardwareAddr
}

// Physical links are Ethernet hardware; virtual machines' paravirtual cards count.
func (l Link) Physical() bool { return l.Type == unix.ARPHRD_ETHER && l.Kind == "" }

// Up is the administrative state.
func (l Link) Up() bool { return l.Flags&unix.IFF_UP != 0 }

// Carrier says that the other end is there.
func (l Link) Carrier() bool { return l.Flags&unix.IFF_LOWER_UP != 0 }

// Address is an address on a link.
type Address struct {
	Prefix                               netip.Prefix
	Local, Broadcast, Anycast, Multicast netip.Addr
	LinkIndex                            uint32
	LinkName                             string
	Scope                                uint8
	Flags                                uint32
}

// Route is a route of any table. Multipath routes show their first hop.
type Route struct {
	plan.Route
	LinkIndex uint32
	Flags     uint32
}

// Snapshot reads links, addresses and routes.
func (c *Conn) Snapshot() (Snapshot, error) {
	var (
		s   Snapshot
		err error
	)

	if s.Links, err = c.links(); err != nil {
		return s, fmt.Errorf("list links: %w", err)
	}

	names := make(map[uint32]string, len(s.Links))
	for _, l := range s.Links {
		names[l.Index] = l.Name
	}

	if s.Addresses, err = c.addresses(names); err != nil {
		return s, fmt.Errorf("list addresses: %w", err)
	}

	if s.Routes, err = c.routes(names); err != nil {
		return s, fmt.Errorf("list routes: %w", err)
	}

	return s, nil
}

// Observed is what the plan needs of a snapshot.
func (s Snapshot) Observed() plan.Observed {
	var o plan.Observed

	for _, l := range s.Links {
		o.Links = append(o.Links, plan.Link{Name: l.Name, Up: l.Up(), MTU: l.MTU})
	}

	for _, a := range s.Addresses {
		o.Addresses = append(o.Addresses, plan.Address{
			Link: a.LinkName, Prefix: a.Prefix, Scope: a.Scope, Temporary: a.Flags&unix.IFA_F_PERMANENT == 0,
		})
	}

	for _, r := range s.Routes {
		o.Routes = append(o.Routes, r.Route)
	}

	return o
}

func (c *Conn) links() ([]Link, error) {
	msgs, err := c.dump(unix.RTM_GETLINK, make([]byte, unix.SizeofIfInfomsg))
	if err != nil {
		return nil, err
	}

	links := make([]Link, 0, len(msgs))

	for _, msg := range msgs {
		l, err := parseLink(msg.Data)
		if err != nil {
			return nil, err
		}

		links = append(links, l)
	}

	return links, nil
}

func parseLink(data []byte) (Link, error) {
	var m rtnetlink.LinkMessage
	if err := m.UnmarshalBinary(data); err != nil {
		return Link{}, err
	}

	l := Link{Index: m.Index, Type: m.Type, Flags: m.Flags}

	if a := m.Attributes; a != nil {
		l.Name, l.MTU, l.QueueDisc = a.Name, a.MTU, a.QueueDisc
		l.HardwareAddr, l.BroadcastAddr = a.Address, a.Broadcast
		l.OperState = uint8(a.OperationalState)
		l.ParentIndex = a.Type // the library's name for IFLA_LINK

		if a.Master != nil {
			l.MasterIndex = *a.Master
		}

		if a.CarrierUpCount != nil {
			l.CarrierUps = *a.CarrierUpCount
		}

		if a.Info != nil {
			l.Kind, l.SlaveKind = a.Info.Kind, a.Info.SlaveKind
		}
	}

	l.PermanentAddr = permanentAddr(data[unix.SizeofIfInfomsg:])

	return l, nil
}

// permanentAddr finds IFLA_PERM_ADDRESS, which the library does not decode.
func permanentAddr(attributes []byte) net.HardwareAddr {
	ad, err := netlink.NewAttributeDecoder(attributes)
	if err != nil {
		return nil
	}

	for ad.Next() {
		if ad.Type() == unix.IFLA_PERM_ADDRESS {
			return net.HardwareAddr(ad.Bytes())
		}
	}

	return nil
}

func (c *Conn) addresses(names map[uint32]string) ([]Address, error) {
	msgs, err := c.dumpFamilies(unix.RTM_GETADDR, unix.SizeofIfAddrmsg)
	if err != nil {
		return nil, err
	}

	addresses := make([]Address, 0, len(msgs))

	for _, msg := range msgs {
		var m rtnetlink.AddressMessage
		if err := m.UnmarshalBinary(msg.Data); err != nil {
			return nil, err
		}

		if a, ok := fromAddressMessage(m, names); ok {
			addresses = append(addresses, a)
		}
	}

	return addresses, nil
}

func fromAddressMessage(m rtnetlink.AddressMessage, names map[uint32]string) (Address, bool) {
	if m.Attributes == nil {
		return Address{}, false
	}

	// On a point-to-point link IFA_ADDRESS is the peer and IFA_LOCAL ours; IPv6 has no IFA_LOCAL.
	ours := addr(m.Attributes.Local)
	if !ours.IsValid() {
		ours = addr(m.Attributes.Address)
	}

	if !ours.IsValid() {
		return Address{}, false
	}

	return Address{
		Prefix:    netip.PrefixFrom(ours, int(m.PrefixLength)),
		Local:     addr(m.Attributes.Local),
		Broadcast: addr(m.Attributes.Broadcast),
		Anycast:   addr(m.Attributes.Anycast),
		Multicast: addr(m.Attributes.Multicast),
		LinkIndex: m.Index,
		LinkName:  names[m.Index],
		Scope:     m.Scope,
		// The header has room for 8 flags; the attribute has all of them.
		Flags: cmp.Or(m.Attributes.Flags, uint32(m.Flags)),
	}, true
}

func (c *Conn) routes(names map[uint32]string) ([]Route, error) {
	msgs, err := c.dumpFamilies(unix.RTM_GETROUTE, unix.SizeofRtMsg)
	if err != nil {
		return nil, err
	}

	routes := make([]Route, 0, len(msgs))

	for _, msg := range msgs {
		var m rtnetlink.RouteMessage
		if err := m.UnmarshalBinary(msg.Data); err != nil {
			return nil, err
		}

		// Cloned routes are the kernel's cache.
		if m.Flags&unix.RTM_F_CLONED == 0 {
			routes = append(routes, fromRouteMessage(m, names))
		}
	}

	return routes, nil
}

func fromRouteMessage(m rtnetlink.RouteMessage, names map[uint32]string) Route {
	a := m.Attributes
	gateway, link := a.Gateway, a.OutIface

	if len(a.Multipath) > 0 {
		gateway, link = a.Multipath[0].Gateway, a.Multipath[0].Hop.IfIndex
	}

	r := Route{
		Route: plan.Route{
			Table:    cmp.Or(a.Table, uint32(m.Table)),
			Dst:      destination(m),
			Gateway:  addr(gateway),
			Src:      addr(a.Src),
			Link:     names[link],
			Metric:   a.Priority,
			Scope:    m.Scope,
			Type:     m.Type,
			Protocol: m.Protocol,
		},
		LinkIndex: link,
		Flags:     m.Flags,
	}

	if a.Metrics != nil {
		r.MTU = a.Metrics.MTU
	}

	return r
}

func destination(m rtnetlink.RouteMessage) netip.Prefix {
	dst := addr(m.Attributes.Dst)
	if !dst.IsValid() {
		dst = netip.IPv4Unspecified()
		if m.Family == unix.AF_INET6 {
			dst = netip.IPv6Unspecified()
		}
	}

	return netip.PrefixFrom(dst, int(m.DstLength))
}

// addr keeps 4-byte addresses IPv4 and 16-byte ones IPv6; nil gives the invalid address.
func addr(ip net.IP) netip.Addr {
	a, _ := netip.AddrFromSlice(slices.Clone(ip))

	return a
}
