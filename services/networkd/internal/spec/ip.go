package spec

import (
	"errors"
	"fmt"
	"math/bits"
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

// Ways of automatic configuration in ip=.
const (
	autoNone = "none" // also "off": what is given is all
	autoDHCP = "dhcp"
)

// ipParameter is one ip= parameter in the form of the kernel and dracut:
// client:server:gateway:netmask:hostname:device:autoconf:dns0:dns1:ntp, IPv6 addresses in brackets.
// See Documentation/admin-guide/nfs/nfsroot.rst of Linux and dracut.cmdline(7).
type ipParameter struct {
	// Address is the client's address with its prefix; invalid when only autoconfiguration was asked for.
	Address netip.Prefix
	// Server and Gateway may be invalid.
	Server, Gateway  netip.Addr
	Hostname, Device string
	// Auto is how to configure beyond what is given: autoNone, autoDHCP or another word of dracut's (dhcp6, auto6, either6,
	// on, any, ibft, link6). Empty when nothing was said.
	Auto string
	// DNS and NTP are servers in order.
	DNS, NTP []netip.Addr
}

// DHCP tells whether the interface is to ask a DHCPv4 server.
func (ip ipParameter) DHCP() bool {
	return slices.Contains([]string{autoDHCP, "on", "any", "both"}, ip.Auto)
}

// Static tells whether an address was given.
func (ip ipParameter) Static() bool { return ip.Address.IsValid() }

var autoWords = []string{"off", autoNone, "on", "any", autoDHCP, "bootp", "rarp", "both", "dhcp6", "auto6", "either6", "link6", "link-local", "ibft", "single-dhcp"}

// parseIP parses the value of one ip= parameter. The short forms are a word (ip=dhcp) and a device with a word
// (ip=eth0:dhcp).
func parseIP(value string) (ipParameter, error) {
	fields, err := splitIP(value)
	if err != nil {
		return ipParameter{}, err
	}

	switch {
	case len(fields) == 1 && slices.Contains(autoWords, fields[0]):
		return ipParameter{Auto: auto(fields[0])}, nil
	case len(fields) <= 4 && len(fields) >= 2 && fields[0] != "" && slices.Contains(autoWords, fields[1]):
		return ipParameter{Device: fields[0], Auto: auto(fields[1])}, nil
	case len(fields) > 10:
		return ipParameter{}, fmt.Errorf("%d fields, at most 10 are known", len(fields))
	}

	fields = append(fields, make([]string, 10-len(fields))...)

	return longForm(fields)
}

func longForm(fields []string) (ipParameter, error) {
	ip := ipParameter{Hostname: fields[4], Device: fields[5], Auto: auto(fields[6])}

	if ip.Auto != "" && !slices.Contains(autoWords, fields[6]) {
		return ipParameter{}, fmt.Errorf("unknown autoconfiguration %q", fields[6])
	}

	var err error

	if ip.Address, err = clientAddress(fields[0], fields[3]); err != nil {
		return ipParameter{}, err
	}

	for _, f := range []struct {
		name, text string
		set        func(netip.Addr)
	}{
		{"server", fields[1], func(a netip.Addr) { ip.Server = a }},
		{"gateway", fields[2], func(a netip.Addr) { ip.Gateway = a }},
		{"name server", fields[7], func(a netip.Addr) { ip.DNS = append(ip.DNS, a) }},
		{"name server", fields[8], func(a netip.Addr) { ip.DNS = append(ip.DNS, a) }},
		{"time server", fields[9], func(a netip.Addr) { ip.NTP = append(ip.NTP, a) }},
	} {
		if f.text == "" {
			continue
		}

		addr, err := netip.ParseAddr(f.text)
		if err != nil {
			return ipParameter{}, fmt.Errorf("%s: %w", f.name, err)
		}

		f.set(addr)
	}

	return ip, nil
}

func auto(word string) string {
	if word == "off" {
		return autoNone
	}

	return word
}

// clientAddress puts address and netmask together. The mask is dotted, or the number of bits; without one an address has
// the prefix written behind it, or stands alone.
func clientAddress(address, mask string) (netip.Prefix, error) {
	if address == "" {
		if mask != "" {
			return netip.Prefix{}, errors.New("a netmask without an address")
		}

		return netip.Prefix{}, nil
	}

	if strings.Contains(address, "/") {
		prefix, err := netip.ParsePrefix(address)
		if err != nil {
			return prefix, fmt.Errorf("address: %w", err)
		}

		return prefix, nil
	}

	addr, err := netip.ParseAddr(address)
	if err != nil {
		return netip.Prefix{}, fmt.Errorf("address: %w", err)
	}

	if addr.Zone() != "" {
		return netip.Prefix{}, fmt.Errorf("address %s has a zone", addr)
	}

	length := addr.BitLen()

	if mask != "" {
		if length, err = maskBits(mask); err != nil {
			return netip.Prefix{}, err
		}
	}

	prefix := netip.PrefixFrom(addr, length)
	if !prefix.IsValid() {
		return prefix, fmt.Errorf("netmask %s does not fit address %s", mask, address)
	}

	return prefix, nil
}

func maskBits(mask string) (int, error) {
	if n, err := strconv.Atoi(mask); err == nil {
		return n, nil
	}

	addr, err := netip.ParseAddr(mask)
	if err != nil || !addr.Is4() {
		return 0, fmt.Errorf("netmask %q is neither dotted nor a number of bits", mask)
	}

	four := addr.As4()
	number := uint32(four[0])<<24 | uint32(four[1])<<16 | uint32(four[2])<<8 | uint32(four[3])
	ones := bits.LeadingZeros32(^number)

	if number<<ones != 0 {
		return 0, fmt.Errorf("netmask %s has holes", mask)
	}

	return ones, nil
}

// splitIP cuts at colons outside of brackets and takes the brackets off.
func splitIP(value string) ([]string, error) {
	var fields []string

	for rest := value; ; {
		if after, ok := strings.CutPrefix(rest, "["); ok {
			address, tail, ok := strings.Cut(after, "]")
			if !ok {
				return nil, errors.New("a bracket is not closed")
			}

			// A prefix length may follow the bracket.
			length, tail, more := strings.Cut(tail, ":")
			if length != "" && !strings.HasPrefix(length, "/") {
				return nil, fmt.Errorf("%q follows a bracket", length)
			}

			fields = append(fields, address+length)
			rest = tail

			if !more {
				return fields, nil
			}

			continue
		}

		field, tail, more := strings.Cut(rest, ":")
		fields = append(fields, field)
		rest = tail

		if !more {
			return fields, nil
		}
	}
}
