package spec

import (
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"strings"

	"github.com/dactyl-os/dactyl/services/kit/cmdline"
)

// FromCmdline reads ip=, talos.hostname= and talos.network.interface.ignore= of the kernel command line.
func FromCmdline(params cmdline.Parameters, devices []Device) Set {
	var s Set

	warn := func(key, value string, err error) {
		s.Warnings = append(s.Warnings, fmt.Sprintf("kernel parameter %s=%s: %v", key, value, err))
	}

	for i, text := range params.All(cmdline.IPConfig) {
		if err := s.addIP(text, uint32(i), devices); err != nil {
			warn(cmdline.IPConfig, text, err)
		}
	}

	if text, ok := params.First(cmdline.Hostname); ok {
		name, err := ParseHostname(text, "", Cmdline)
		if err != nil {
			warn(cmdline.Hostname, text, err)
		} else if text != "" {
			s.Hostname = name
		}
	}

	s.Ignored = params.All(cmdline.IgnoreInterface)

	for _, key := range []string{cmdline.Bond, cmdline.VLAN} {
		for _, text := range params.All(key) {
			warn(key, text, errUnsupported)
		}
	}

	return s
}

var (
	errUnsupported     = errors.New("not supported yet")
	errUnsupportedAuto = errors.New("automatic configuration is not supported yet")
)

// addIP takes one ip= in; its place gives the default route's metric, so that the first one's wins.
func (s *Set) addIP(text string, place uint32, devices []Device) error {
	if text == "" {
		return nil
	}

	// v1.8 documents lines with more trailing colons than there are fields.
	ip, err := parseIP(strings.TrimRight(text, ":"))
	if err != nil {
		return err
	}

	switch {
	case ip.DHCP() && !ip.Static():
		return s.addDHCP(ip, place, devices)
	case ip.Auto != "" && ip.Auto != autoNone && ip.Auto != "static":
		return errUnsupportedAuto
	case !ip.Static():
		return nil
	case ip.Gateway.IsValid() && ip.Gateway.Is6() != ip.Address.Addr().Is6():
		return fmt.Errorf("address %s and gateway %s are of two families", ip.Address, ip.Gateway)
	}

	link, err := cmdlineLink(ip.Device, devices)
	if err != nil {
		return err
	}

	s.Links = append(s.Links, Link{Name: link, Up: true, Layer: Cmdline})
	s.Addresses = append(s.Addresses, Address{Link: link, Prefix: ip.Address, Layer: Cmdline})

	if ip.Gateway.IsValid() {
		s.Routes = append(s.Routes, Reach(ip.Address, Route{Gateway: ip.Gateway, Link: link, Priority: routePriority + place, Layer: Cmdline})...)
	}

	return s.addNames(ip)
}

func (s *Set) addDHCP(ip ipParameter, place uint32, devices []Device) error {
	link, err := cmdlineLink(ip.Device, devices)
	if err != nil {
		return err
	}

	s.Links = append(s.Links, Link{Name: link, Up: true, Layer: Cmdline})
	s.DHCP = append(s.DHCP, DHCP{Link: link, Metric: routePriority + place, Layer: Cmdline})

	return s.addNames(ip)
}

func (s *Set) addNames(ip ipParameter) error {
	name, err := ParseHostname(ip.Hostname, "", Cmdline)
	if name.Hostname != "" {
		s.Hostname = name
	}

	if len(ip.DNS) > 0 {
		s.Resolvers = Resolvers{Servers: append(s.Resolvers.Servers, ip.DNS...), Layer: Cmdline}
	}

	for _, server := range ip.NTP {
		s.TimeServers = TimeServers{Servers: append(s.TimeServers.Servers, server.String()), Layer: Cmdline}
	}

	return err
}

// cmdlineLink finds the link: by name, by hardware address (enxAABBCCDDEEFF), or the machine's first.
func cmdlineLink(name string, devices []Device) (string, error) {
	if name == "" {
		if first := FirstHardwareAddr(devices); first.Name != "" {
			return first.Name, nil
		}

		return "", errors.New("no device is named and none is there")
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
