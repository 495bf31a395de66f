package qemu

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"
	"github.com/insomniacslk/dhcp/dhcpv4/server4"
)

// Host is a machine that the DHCP server knows.
type Host struct {
	MAC, Name string
	Address   netip.Addr
}

// DHCP is what a network's server hands out: addresses by MAC, to nobody else.
type DHCP struct {
	// Gateway is the server's own address with the network's prefix.
	Gateway     netip.Prefix
	Nameservers []string
	MTU         int
	Hosts       []Host
	// NoNames leaves the machines' names out.
	NoNames bool
	Lease   time.Duration
}

// Serve answers on a link until ctx ends.
func (d DHCP) Serve(ctx context.Context, link string) error {
	server, err := server4.NewServer(link, &net.UDPAddr{IP: net.IPv4zero, Port: dhcpv4.ServerPort}, func(conn net.PacketConn, peer net.Addr, request *dhcpv4.DHCPv4) {
		answer, err := d.Answer(request)
		if err != nil || answer == nil {
			return
		}

		_, _ = conn.WriteTo(answer.ToBytes(), peer) // what is lost is asked for again
	})
	if err != nil {
		return fmt.Errorf("serve DHCP on %s: %w", link, err)
	}

	stop := context.AfterFunc(ctx, func() { _ = server.Close() })
	defer stop()

	if err := server.Serve(); err != nil && ctx.Err() == nil {
		return fmt.Errorf("serve DHCP on %s: %w", link, err)
	}

	return nil
}

// Answer is what the server says to a request; nil: nothing.
func (d DHCP) Answer(request *dhcpv4.DHCPv4) (*dhcpv4.DHCPv4, error) {
	host := d.host(request.ClientHWAddr)
	if host == nil || request.OpCode != dhcpv4.OpcodeBootRequest {
		return nil, nil
	}

	var kind dhcpv4.MessageType

	switch request.MessageType() {
	case dhcpv4.MessageTypeDiscover:
		kind = dhcpv4.MessageTypeOffer
	case dhcpv4.MessageTypeRequest:
		kind = dhcpv4.MessageTypeAck

		if wanted := wants(request); wanted.IsValid() && wanted != host.Address {
			return dhcpv4.NewReplyFromRequest(request, dhcpv4.WithMessageType(dhcpv4.MessageTypeNak),
				dhcpv4.WithOption(dhcpv4.OptServerIdentifier(d.Gateway.Addr().AsSlice())))
		}
	default:
		return nil, nil
	}

	options := []dhcpv4.Modifier{
		dhcpv4.WithMessageType(kind), dhcpv4.WithYourIP(host.Address.AsSlice()), dhcpv4.WithServerIP(d.Gateway.Addr().AsSlice()),
		dhcpv4.WithOption(dhcpv4.OptServerIdentifier(d.Gateway.Addr().AsSlice())), dhcpv4.WithRouter(d.Gateway.Addr().AsSlice()),
		dhcpv4.WithNetmask(net.CIDRMask(d.Gateway.Bits(), 32)), dhcpv4.WithLeaseTime(uint32(d.Lease.Seconds())),
		dhcpv4.WithOption(dhcpv4.OptGeneric(dhcpv4.OptionInterfaceMTU, []byte{byte(d.MTU >> 8), byte(d.MTU)})),
	}

	if dns := d.dns(); len(dns) > 0 {
		options = append(options, dhcpv4.WithDNS(dns...))
	}

	if !d.NoNames {
		options = append(options, dhcpv4.WithOption(dhcpv4.OptHostName(host.Name)))
	}

	return dhcpv4.NewReplyFromRequest(request, options...)
}

func (d DHCP) host(mac net.HardwareAddr) *Host {
	for i := range d.Hosts {
		if d.Hosts[i].MAC == mac.String() {
			return &d.Hosts[i]
		}
	}

	return nil
}

func (d DHCP) dns() []net.IP {
	var out []net.IP

	for _, text := range d.Nameservers {
		if ip := net.ParseIP(text).To4(); ip != nil {
			out = append(out, ip)
		}
	}

	return out
}

// wants is the address that a request is about: asked for at first, held when it is renewed.
func wants(request *dhcpv4.DHCPv4) netip.Addr {
	ip := request.RequestedIPAddress()
	if ip == nil || ip.IsUnspecified() {
		ip = request.ClientIPAddr
	}

	address, _ := netip.AddrFromSlice(ip.To4())
	if address.IsUnspecified() {
		return netip.Addr{}
	}

	return address
}
