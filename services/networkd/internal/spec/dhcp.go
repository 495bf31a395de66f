package spec

import (
	"cmp"
	"slices"

	"github.com/dactyl-os/dactyl/proto/config"
	"github.com/dactyl-os/dactyl/services/kit/cmdline"
)

// DHCP asks for a DHCPv4 lease on a link; its routes get the metric.
type DHCP struct {
	Link   string `json:"link"`
	Metric uint32 `json:"metric"`
	Layer  Layer  `json:"layer"`
}

// Automatic asks for leases on every hardware link of a machine. Merge leaves out the links that a source knows better
// about. In a container the provisioner knows the addresses.
func Automatic(params cmdline.Parameters, devices []Device) []DHCP {
	if platform := params.Last(cmdline.Platform); platform == "" || platform == "container" {
		return nil
	}

	var links []DHCP

	for _, d := range slices.SortedFunc(slices.Values(devices), func(a, b Device) int { return cmp.Compare(a.Name, b.Name) }) {
		if d.Physical && d.Name != "lo" {
			// A metric for each: the kernel keeps one default route of one metric.
			links = append(links, DHCP{Link: d.Name, Metric: routePriority + uint32(len(links))})
		}
	}

	return links
}

// dhcp reads the dhcp and dhcpOptions settings of a configured link.
func (b *configReader) dhcp(where, name string, d *config.Device) {
	if !isTrue(d.DHCP) {
		return
	}

	ask := DHCP{Link: name, Metric: routePriority, Layer: Configuration}

	if o := d.DHCPOptions; o != nil {
		ask.Metric = cmp.Or(o.RouteMetric, ask.Metric)

		if isTrue(o.IPv6) {
			b.warn("%s.dhcpOptions.ipv6 (%s): not supported yet", where, name)
		}

		if o.IPv4 != nil && !*o.IPv4 {
			return
		}
	}

	b.DHCP = append(b.DHCP, ask)
}

// mergeDHCP: a link that a higher layer speaks of has a lease only if that layer asks for one. What a lease itself brought
// says nothing.
func mergeDHCP(sets []Set, ignored []string) []DHCP {
	spoken := map[string]Layer{}

	for _, s := range sets {
		for _, l := range s.Links {
			if l.Layer != Operator {
				spoken[l.Name] = max(spoken[l.Name], l.Layer)
			}
		}
	}

	byLink := map[string]DHCP{}

	for _, d := range byLayer(sets, func(s Set) []DHCP { return s.DHCP }, func(d DHCP) Layer { return d.Layer }) {
		if d.Layer >= spoken[d.Link] && !slices.Contains(ignored, d.Link) {
			byLink[d.Link] = d
		}
	}

	return values(byLink)
}
