package spec

import (
	"encoding/hex"
	"fmt"
	"math/bits"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/dactyl-os/dactyl/services/kit/cmdline"
)

// FromCmdline reads ip=, talos.hostname= and talos.network.interface.ignore= of the kernel command line.
// Format of ip=: Documentation/admin-guide/nfs/nfsroot.rst; an IPv6 address is in brackets.
func FromCmdline(params cmdline.Parameters, devices []Device) Set {
	var s Set

	for i, text := range params.All("ip") {
		if err := s.addIP(text, uint32(i), devices); err != nil {
			s.Warnings = append(s.Warnings, fmt.Sprintf("kernel parameter ip=%s: %v", text, err))
		}
	}

	if name, ok := params.First("talos.hostname"); ok && name != "" {
		s.Hostname = ParseHostname(name, Cmdline)
	}

	s.Ignored = params.All("talos.network.interface.ignore")

	for _, key := range []string{"bond", "vlan"} {
		for _, text := range params.All(key) {
			s.Warnings = append(s.Warnings, fmt.Sprintf("kernel parameter %s=%s: not supported yet", key, text))
		}
	}

	return s
}

// Fields of ip= by their place.
const (
	ipClient = iota
	_        // boot server
	ipGateway
	ipNetmask
	ipHostname
	ipDevice
	ipAutoconf
	ipDNS0
	ipDNS1
	ipNTP0
	ipFields
)

func (s *Set) addIP(text string, position uint32, devices []Device) error {
	if text == "off" || text == "none" || text == "" {
		return nil
	}

	fields, err := splitIP(text)
	if err != nil {
		return err
	}

	// ip=dhcp and ip=eth0:dhcp are forms of their own.
	if fields[ipClient] == "" || !strings.ContainsAny(fields[ipClient], ".:") {
		return fmt.Errorf("automatic configuration is not supported yet")
	}

	switch fields[ipAutoconf] {
	case "", "off", "none", "static":
	default:
		return fmt.Errorf("automatic configuration (%s) is not supported yet", fields[ipAutoconf])
	}

	link, err := cmdlineLink(fields[ipDevice], devices)
	if err != nil {
		return err
	}

	address, gateway, err := parseIP(fields)
	if err != nil {
		return err
	}

	s.Links = append(s.Links, Link{Name: link, Up: true, Layer: Cmdline})
	s.Addresses = append(s.Addresses, Address{Link: link, Prefix: address, Layer: Cmdline})

	if gateway.IsValid() {
		s.Routes = append(s.Routes, Route{Gateway: gateway, Link: link, Priority: routePriority + position, Layer: Cmdline})
	}

	return s.addNames(fields)
}

func parseIP(fields []string) (address netip.Prefix, gateway netip.Addr, err error) {
	client, err := netip.ParseAddr(fields[ipClient])
	if err != nil || client.Zone() != "" {
		return address, gateway, fmt.Errorf("%q is not an IP address", fields[ipClient])
	}

	length, err := maskLength(client, fields[ipNetmask])
	if err != nil {
		return address, gateway, err
	}

	if text := fields[ipGateway]; text != "" {
		if gateway, err = netip.ParseAddr(text); err != nil || gateway.Is6() != client.Is6() {
			return address, gateway, fmt.Errorf("gateway %q is not an IP address of the client's family", text)
		}
	}

	return netip.PrefixFrom(client, length), gateway, nil
}

func (s *Set) addNames(fields []string) error {
	if fields[ipHostname] != "" {
		s.Hostname = ParseHostname(fields[ipHostname], Cmdline)
	}

	for _, text := range fields[ipDNS0 : ipDNS1+1] {
		if text == "" {
			continue
		}

		server, err := netip.ParseAddr(text)
		if err != nil {
			return fmt.Errorf("name server %q is not an IP address", text)
		}

		s.Resolvers.Layer = Cmdline
		s.Resolvers.Servers = append(s.Resolvers.Servers, server)
	}

	if fields[ipNTP0] != "" {
		s.TimeServers.Layer = Cmdline
		s.TimeServers.Servers = append(s.TimeServers.Servers, fields[ipNTP0])
	}

	return nil
}

// splitIP splits at colons outside brackets and takes the brackets off.
func splitIP(text string) ([]string, error) {
	var (
		fields []string
		field  strings.Builder
		inside bool
	)

	for _, c := range text {
		switch {
		case c == '[' && !inside:
			inside = true
		case c == ']' && inside:
			inside = false
		case c == ':' && !inside:
			fields = append(fields, field.String())
			field.Reset()
		default:
			field.WriteRune(c)
		}
	}

	if inside {
		return nil, fmt.Errorf("a bracket is not closed")
	}

	fields = append(fields, field.String())

	// Trailing colons are common; more values than the format has are a mistake.
	if len(fields) > ipFields && slices.ContainsFunc(fields[ipFields:], func(f string) bool { return f != "" }) {
		return nil, fmt.Errorf("%d fields, at most %d are known", len(fields), ipFields)
	}

	return append(fields, make([]string, ipFields)...)[:ipFields], nil
}

// maskLength reads 255.255.255.0 or 24; without a mask the address is a host's.
func maskLength(client netip.Addr, mask string) (int, error) {
	if mask == "" {
		return client.BitLen(), nil
	}

	if n, err := strconv.Atoi(mask); err == nil && n >= 0 && n <= client.BitLen() {
		return n, nil
	}

	if m, err := netip.ParseAddr(mask); err == nil && m.Is4() && client.Is4() {
		b := m.As4()
		n := bits.LeadingZeros32(^(uint32(b[0])<<24 | uint32(b[1])<<16 | uint32(b[2])<<8 | uint32(b[3])))

		if netip.PrefixFrom(netip.AddrFrom4([4]byte{255, 255, 255, 255}), n).Masked().Addr() == m {
			return n, nil
		}
	}

	return 0, fmt.Errorf("%q is not a netmask", mask)
}

// cmdlineLink finds the link: by name, by hardware address (enxAABBCCDDEEFF), or the machine's first.
func cmdlineLink(name string, devices []Device) (string, error) {
	if name == "" {
		if first := FirstHardwareAddr(devices); first.Name != "" {
			return first.Name, nil
		}

		return "", fmt.Errorf("no device is named and none is there")
	}

	if mac, err := hex.DecodeString(strings.TrimPrefix(name, "enx")); err == nil && len(mac) == 6 {
		for _, d := range devices {
			if d.HardwareAddr.String() == net.HardwareAddr(mac).String() {
				return d.Name, nil
			}
		}
	}

	return name, nil
}
