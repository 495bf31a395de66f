// Package status turns a snapshot of the kernel into the status resources of the contract. It is pure.
package status

import (
	"cmp"
	"net/netip"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/dactyl-os/dactyl/proto/resource/enums"
	"github.com/dactyl-os/dactyl/proto/resource/network"

	"github.com/dactyl-os/dactyl/services/networkd/internal/rtnl"
	"github.com/dactyl-os/dactyl/services/networkd/internal/spec"
)

// Links gives LinkStatus specs by ID.
func Links(s rtnl.Snapshot, details map[uint32]rtnl.Details) map[string]network.LinkStatusSpec {
	out := make(map[string]network.LinkStatusSpec, len(s.Links))

	for _, l := range s.Links {
		d := details[l.Index]
		out[network.LinkID(l.Name)] = network.LinkStatusSpec{
			Index:            l.Index,
			Type:             enums.LinkType(l.Type),
			LinkIndex:        l.ParentIndex,
			Flags:            enums.LinkFlags(l.Flags),
			HardwareAddr:     enums.HardwareAddr(l.HardwareAddr),
			PermanentAddr:    enums.HardwareAddr(l.PermanentAddr),
			BroadcastAddr:    enums.HardwareAddr(l.BroadcastAddr),
			MTU:              l.MTU,
			QueueDisc:        l.QueueDisc,
			MasterIndex:      l.MasterIndex,
			OperationalState: enums.OperationalState(l.OperState),
			Kind:             l.Kind,
			SlaveKind:        l.SlaveKind,
			BusPath:          d.BusPath,
			PCIID:            d.PCIID,
			Driver:           d.Driver,
			DriverVersion:    d.DriverVersion,
			FirmwareVersion:  d.FirmwareVersion,
			VendorID:         d.VendorID,
			ProductID:        d.ProductID,
			LinkState:        d.LinkState,
			SpeedMegabits:    d.SpeedMbit,
			Port:             enums.Port(d.Port),
			Duplex:           enums.Duplex(d.Duplex),
		}
	}

	return out
}

// Addresses gives AddressStatus specs by ID.
func Addresses(s rtnl.Snapshot) map[string]network.AddressStatusSpec {
	out := make(map[string]network.AddressStatusSpec, len(s.Addresses))

	for _, a := range s.Addresses {
		out[network.AddressID(a.LinkName, a.Prefix)] = network.AddressStatusSpec{
			Address:   a.Prefix,
			Local:     a.Local,
			Broadcast: a.Broadcast,
			Anycast:   a.Anycast,
			Multicast: a.Multicast,
			LinkIndex: a.LinkIndex,
			LinkName:  a.LinkName,
			Family:    family(a.Prefix.Addr()),
			Scope:     enums.Scope(a.Scope),
			Flags:     enums.AddressFlags(a.Flags),
		}
	}

	return out
}

// Routes gives RouteStatus specs by ID. A default route has the zero destination.
func Routes(s rtnl.Snapshot) map[string]network.RouteStatusSpec {
	out := make(map[string]network.RouteStatusSpec, len(s.Routes))

	for _, r := range s.Routes {
		dst := r.Dst
		if dst.Bits() == 0 {
			dst = netip.Prefix{}
		}

		id := spec.RouteID(enums.RoutingTable(r.Table), r.Dst.Addr().Is6(), dst, r.Gateway, r.Metric, r.Link)
		out[id] = network.RouteStatusSpec{
			Family:       family(r.Dst.Addr()),
			Destination:  dst,
			Source:       r.Src,
			Gateway:      r.Gateway,
			OutLinkIndex: r.LinkIndex,
			OutLinkName:  r.Link,
			Table:        enums.RoutingTable(r.Table),
			Priority:     r.Metric,
			Scope:        enums.Scope(r.Scope),
			Type:         enums.RouteType(r.Type),
			Flags:        enums.RouteFlags(r.Flags),
			Protocol:     enums.RouteProtocol(r.Protocol),
			MTU:          r.MTU,
		}
	}

	return out
}

func family(a netip.Addr) enums.Family {
	if a.Is4() {
		return enums.FamilyInet4
	}

	return enums.FamilyInet6
}

// Devices is what the configuration sources may know of the links.
func Devices(s rtnl.Snapshot, details map[uint32]rtnl.Details) []spec.Device {
	devices := make([]spec.Device, 0, len(s.Links))

	for _, l := range s.Links {
		d := details[l.Index]
		devices = append(devices, spec.Device{
			Name:          l.Name,
			Physical:      l.Physical(),
			HardwareAddr:  l.HardwareAddr,
			PermanentAddr: l.PermanentAddr,
			BusPath:       d.BusPath,
			Driver:        d.Driver,
			PCIID:         d.PCIID,
		})
	}

	return devices
}

// sideroLink is the overlay to an outside manager, which is no address for the node's peers.
var sideroLink = netip.MustParsePrefix("fdae:41e4:649b:9303::/64")

// NodeAddresses gives the NodeAddress resources from the snapshot and what they were before: the default address stays
// as long as it exists, the accumulated ones stay for ever.
func NodeAddresses(s rtnl.Snapshot, before map[string][]netip.Prefix) map[string][]netip.Prefix {
	up := map[uint32]bool{}
	for _, l := range s.Links {
		up[l.Index] = l.Up()
	}

	var current, routed []netip.Prefix

	candidates := slices.SortedFunc(slices.Values(s.Addresses), func(a, b rtnl.Address) int {
		return cmp.Or(cmp.Compare(a.LinkName, b.LinkName), a.Prefix.Addr().Compare(b.Prefix.Addr()))
	})
	usable := candidates[:0]

	for _, a := range candidates {
		if forPeers(a.Prefix.Addr()) && a.Flags&unix.IFA_F_DEPRECATED == 0 && up[a.LinkIndex] {
			usable = append(usable, a)
		}
	}

	for _, a := range usable {
		current = append(current, a.Prefix)

		if !sideroLink.Contains(a.Prefix.Addr()) {
			routed = append(routed, a.Prefix)
		}
	}

	current, routed = sortedPrefixes(current), sortedPrefixes(routed)
	out := map[string][]netip.Prefix{
		network.NodeAddressCurrentID:      current,
		network.NodeAddressRoutedID:       routed,
		network.NodeAddressAccumulativeID: sortedPrefixes(slices.Concat(before[network.NodeAddressAccumulativeID], current)),
	}

	if old := before[network.NodeAddressDefaultID]; len(old) == 1 && slices.Contains(current, old[0]) {
		out[network.NodeAddressDefaultID] = old
	} else if len(usable) > 0 {
		out[network.NodeAddressDefaultID] = []netip.Prefix{usable[0].Prefix}
	}

	return out
}

func forPeers(a netip.Addr) bool {
	return !a.IsLoopback() && !a.IsLinkLocalUnicast() && !a.IsMulticast()
}

func sortedPrefixes(p []netip.Prefix) []netip.Prefix {
	return slices.Compact(slices.SortedFunc(slices.Values(p), func(a, b netip.Prefix) int {
		return cmp.Or(a.Addr().Compare(b.Addr()), cmp.Compare(a.Bits(), b.Bits()))
	}))
}

// Ready sums the snapshot up for NetworkStatus: an address other nodes could reach, and a way out.
func Ready(s rtnl.Snapshot) (address, connectivity bool) {
	for _, a := range s.Addresses {
		address = address || forPeers(a.Prefix.Addr())
	}

	for _, r := range s.Routes {
		connectivity = connectivity || r.Dst.Bits() == 0 && r.Type == unix.RTN_UNICAST && enums.RoutingTable(r.Table) == enums.RoutingTableMain
	}

	return address, connectivity
}
