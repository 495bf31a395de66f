package spec

import (
	"crypto/sha256"
	"encoding/binary"
	"net"
	"net/netip"
	"path"
	"slices"
	"strconv"
	"strings"

	"github.com/dactyl-os/dactyl/proto/config"
)

// Device is what the sources may know of a link that exists.
type Device struct {
	Name                        string
	Physical                    bool // Ethernet hardware
	HardwareAddr, PermanentAddr net.HardwareAddr
	BusPath, Driver, PCIID      string
}

// Defaults are what a node without any configuration has: loopback, its hardware links up, a name of its own, public
// resolvers and a public time server.
func Defaults(devices []Device) Set {
	s := Set{
		Links: []Link{{Name: "lo", Up: true}},
		Addresses: []Address{
			{Link: "lo", Prefix: netip.MustParsePrefix("127.0.0.1/8")},
			{Link: "lo", Prefix: netip.MustParsePrefix("::1/128")},
		},
		Hostname:    Hostname{Hostname: DefaultHostname(FirstHardwareAddr(devices).HardwareAddr)},
		Resolvers:   Resolvers{Servers: []netip.Addr{netip.MustParseAddr("1.1.1.1"), netip.MustParseAddr("8.8.8.8")}},
		TimeServers: TimeServers{Servers: []string{"time.cloudflare.com"}},
	}

	for _, d := range devices {
		if d.Physical {
			s.Links = append(s.Links, Link{Name: d.Name, Up: true})
		}
	}

	return s
}

// FirstHardwareAddr picks the link that stands for the machine: the first hardware link by name, or in a container,
// which has none, the first link with an address. The zero Device when there is none.
func FirstHardwareAddr(devices []Device) Device {
	sorted := slices.SortedFunc(slices.Values(devices), func(a, b Device) int { return strings.Compare(a.Name, b.Name) })

	for _, physical := range []bool{true, false} {
		for _, d := range sorted {
			if d.Physical == physical && d.Name != "lo" && !zero(d.HardwareAddr) {
				return d
			}
		}
	}

	return Device{}
}

func zero(mac net.HardwareAddr) bool {
	return !slices.ContainsFunc(mac, func(b byte) bool { return b != 0 })
}

// DefaultHostname is dactyl-xxx-xxx, the same at every boot of one machine.
func DefaultHostname(mac net.HardwareAddr) string {
	if zero(mac) {
		return "localhost"
	}

	const letters = 36 * 36 * 36

	sum := sha256.Sum256(mac)
	part := func(b []byte) string {
		s := strconv.FormatUint(binary.BigEndian.Uint64(b)%letters, 36)

		return strings.Repeat("0", 3-len(s)) + s
	}

	return "dactyl-" + part(sum[:8]) + "-" + part(sum[8:16])
}

// selected gives the links that a deviceSelector means. Every given criterion has to hold; texts may have globs.
func selected(sel *config.NetworkDeviceSelector, devices []Device) []string {
	var names []string

	for _, d := range devices {
		mac := d.PermanentAddr
		if zero(mac) {
			mac = d.HardwareAddr
		}

		if d.Name != "lo" &&
			globbed(sel.HardwareAddr, mac.String()) &&
			globbed(sel.BusPath, d.BusPath) &&
			globbed(sel.PCIID, d.PCIID) &&
			globbed(sel.Driver, d.Driver) &&
			(sel.Physical == nil || *sel.Physical == d.Physical) {
			names = append(names, d.Name)
		}
	}

	return names
}

func globbed(pattern, text string) bool {
	ok, err := path.Match(strings.ToLower(pattern), strings.ToLower(text))

	return pattern == "" || ok && err == nil
}
