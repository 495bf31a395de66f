// Package dhcp gets links their IPv4 addresses from DHCP servers (RFC 2131) and keeps them. A lease is a pure thing that
// turns into specs; Exchange is the hand on the wire.
package dhcp

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"

	"github.com/dactyl-os/dactyl/services/networkd/internal/spec"
)

// Lease is what a server gave a link. Its times are readings of the boot clock: timed may set the wall clock at any
// moment, and a lease does not outlive the boot.
type Lease struct {
	Link         string        `json:"link"`
	HardwareAddr string        `json:"hardwareAddr"`
	Address      netip.Prefix  `json:"address"`
	Server       netip.Addr    `json:"server"`
	Routes       []Route       `json:"routes,omitempty"`
	DNS          []netip.Addr  `json:"dns,omitempty"`
	NTP          []string      `json:"ntp,omitempty"`
	Hostname     string        `json:"hostname,omitempty"`
	Domain       string        `json:"domain,omitempty"`
	MTU          uint32        `json:"mtu,omitempty"`
	Start        time.Duration `json:"start"`
	Renew        time.Duration `json:"renew"`
	Rebind       time.Duration `json:"rebind"`
	End          time.Duration `json:"end"`
	Ack          []byte        `json:"ack"`
	// CarrierUps is the link's count when the server was asked: with another one the link may be in another network.
	CarrierUps uint32 `json:"carrierUps"`
}

// Route is one that the server gave; without Gateway its destination is on the link.
type Route struct {
	Dst     netip.Prefix `json:"dst"`
	Gateway netip.Addr   `json:"gateway"`
}

// infinite is the lease time without an end, RFC 2131 section 3.3.
const infinite = 0xffffffff * time.Second

// forever is far enough for it: a timer of that length never fires.
const forever = 100 * 365 * 24 * time.Hour

// FromAck reads a server's answer that came at now.
func FromAck(link string, ack *dhcpv4.DHCPv4, now time.Duration) (*Lease, error) {
	address, ok := netip.AddrFromSlice(ack.YourIPAddr.To4())
	if !ok || address.IsUnspecified() {
		return nil, errors.New("the answer has no address")
	}

	bits := address.BitLen()
	if mask := ack.SubnetMask(); mask != nil {
		if ones, size := mask.Size(); size == 32 {
			bits = ones
		}
	}

	server, _ := netip.AddrFromSlice(ack.ServerIdentifier().To4())

	l := &Lease{
		Link: link, HardwareAddr: ack.ClientHWAddr.String(), Address: netip.PrefixFrom(address, bits), Server: server,
		DNS: addresses(ack.DNS()), Hostname: text(ack.HostName()), Domain: text(ack.DomainName()), Start: now, Ack: ack.ToBytes(),
	}

	for _, a := range addresses(ack.NTPServers()) {
		l.NTP = append(l.NTP, a.String())
	}

	// 68 is the least that IPv4 works with.
	if v := ack.Options.Get(dhcpv4.OptionInterfaceMTU); len(v) == 2 && binary.BigEndian.Uint16(v) >= 68 {
		l.MTU = uint32(binary.BigEndian.Uint16(v))
	}

	l.routes(ack)

	return l, l.times(ack)
}

// routes: with classless routes the router option is ignored, RFC 3442.
func (l *Lease) routes(ack *dhcpv4.DHCPv4) {
	for _, r := range ack.ClasslessStaticRoute() {
		dst, ok := netip.AddrFromSlice(r.Dest.IP.To4())
		if !ok {
			continue
		}

		ones, _ := r.Dest.Mask.Size()
		gateway, _ := netip.AddrFromSlice(r.Router.To4())
		l.Routes = append(l.Routes, Route{Dst: netip.PrefixFrom(dst, ones).Masked(), Gateway: gateway})
	}

	if len(l.Routes) > 0 {
		return
	}

	for i, gateway := range addresses(ack.Router()) {
		if i == 0 {
			l.Routes = append(l.Routes, Route{Dst: netip.PrefixFrom(netip.IPv4Unspecified(), 0), Gateway: gateway})
		}
	}
}

// times: T1 and T2 are half and seven eighths of the lease unless the server says otherwise, RFC 2131 section 4.4.5.
func (l *Lease) times(ack *dhcpv4.DHCPv4) error {
	whole := ack.IPAddressLeaseTime(0)

	switch {
	case whole <= 0:
		return errors.New("the answer has no lease time")
	case whole >= infinite:
		l.Renew, l.Rebind, l.End = forever, forever, forever

		return nil
	}

	renew, rebind := ack.IPAddressRenewalTime(whole/2), ack.IPAddressRebindingTime(whole/8*7)
	rebind = min(rebind, whole)

	l.Renew, l.Rebind, l.End = l.Start+min(renew, rebind), l.Start+rebind, l.Start+whole

	return nil
}

func addresses(ips []net.IP) []netip.Addr {
	var out []netip.Addr

	for _, ip := range ips {
		if a, ok := netip.AddrFromSlice(ip.To4()); ok && !a.IsUnspecified() {
			out = append(out, a)
		}
	}

	return out
}

// Set is what the lease asks for, in the operator layer.
func (l *Lease) Set(metric uint32) spec.Set {
	s := spec.Set{
		Links:       []spec.Link{{Name: l.Link, Up: true, MTU: l.MTU, Layer: spec.Operator}},
		Addresses:   []spec.Address{{Link: l.Link, Prefix: l.Address, Layer: spec.Operator}},
		Resolvers:   spec.Resolvers{Servers: l.DNS, Layer: spec.Operator},
		TimeServers: spec.TimeServers{Servers: l.NTP, Layer: spec.Operator},
	}

	for _, r := range l.Routes {
		gateway := r.Gateway
		if gateway.IsUnspecified() {
			gateway = netip.Addr{}
		}

		route := spec.Route{Dst: r.Dst, Gateway: gateway, Link: l.Link, Priority: metric, Layer: spec.Operator}
		if r.Dst.Bits() == 0 && gateway.IsValid() {
			route.Dst = netip.Prefix{}
		}

		s.Routes = append(s.Routes, spec.Reach(l.Address, route)...)
	}

	name, err := spec.ParseHostname(l.Hostname, l.Domain, spec.Operator)
	if err != nil {
		s.Warnings = append(s.Warnings, fmt.Sprintf("%s: DHCP server %s: %v", l.Link, l.Server, err))
	}

	s.Hostname = name

	return s
}

// text cuts the NULs off that some servers end it with.
func text(option string) string { return strings.TrimRight(option, "\x00") }

// String tells a lease in one line of a log.
func (l *Lease) String() string {
	term := "ever"
	if l.End < forever {
		term = (l.End - l.Start).String()
	}

	return fmt.Sprintf("%s on %s from %s for %s", l.Address, l.Link, l.Server, term)
}
