package network

import (
	"fmt"
	"net/netip"

	"github.com/cosi-project/runtime/pkg/resource"

	"github.com/dactyl-os/dactyl/proto/resource/enums"
)

// ConfigNamespaceName holds specs of one layer each, before they are merged
// into NamespaceName.
const ConfigNamespaceName = resource.Namespace("network-config")

// Identifiers of the resources that are one of a kind.
const (
	HostnameID    = resource.ID("hostname")
	ResolverID    = resource.ID("resolvers")
	TimeServerID  = resource.ID("timeservers")
	StatusID      = resource.ID("status")
	HostDNSID     = resource.ID("config")
	LinkRefreshID = resource.ID("refresh")

	// Of NodeAddress.
	NodeAddressDefaultID      = resource.ID("default")
	NodeAddressCurrentID      = resource.ID("current")
	NodeAddressRoutedID       = resource.ID("routed")
	NodeAddressAccumulativeID = resource.ID("accumulative")

	// Of HardwareAddr.
	FirstHardwareAddr = resource.ID("first")
)

// AddressID names an address: "eth0/10.5.0.2/24".
func AddressID(linkName string, address netip.Prefix) resource.ID {
	return linkName + "/" + address.String()
}

// LinkID names a link.
func LinkID(linkName string) resource.ID { return linkName }

// RouteID names a route: "eth0/inet4/10.5.0.1//1024" (link, family, gateway,
// destination, priority; "" is the default route). A table other than main
// stands in front.
func RouteID(table enums.RoutingTable, family enums.Family, destination netip.Prefix, gateway netip.Addr, priority uint32, outLinkName string) resource.ID {
	prefix := ""
	if table != enums.RoutingTableMain {
		prefix = table.String() + "/"
	}
	if outLinkName != "" {
		prefix += outLinkName + "/"
	}
	dst, _ := destination.MarshalText() // "" for the zero prefix
	gw, _ := gateway.MarshalText()

	return fmt.Sprintf("%s%s/%s/%s/%d", prefix, family, gw, dst, priority)
}

// LayeredID names a resource of ConfigNamespaceName: "configuration/eth0".
func LayeredID(layer enums.ConfigLayer, id resource.ID) resource.ID {
	return layer.String() + "/" + id
}
