package spec_test

import (
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/dactyl-os/dactyl/services/networkd/internal/spec"
)

// TestImpossible: whatever layer asks for what no kernel takes, the rest is done, and this is told once with its reason.
func TestImpossible(t *testing.T) {
	for _, layer := range []spec.Layer{spec.Cmdline, spec.Platform, spec.Operator, spec.Configuration} {
		set := spec.Set{Links: []spec.Link{{Name: "eth0", Up: true, Layer: layer}, {Name: "eth1", Up: true, MTU: 1000, Layer: layer}}}

		for _, text := range []string{
			"eth0 10.0.0.1/24", "eth0 0.0.0.0/0", "eth0 224.0.0.1/24", "eth0 ::ffff:10.0.0.1/120", "eth0 ff02::1/64", "eth0 fd00::1/64",
			"eth1 fd00::2/64", "eth1 10.0.1.1/24",
		} {
			link, prefix, _ := strings.Cut(text, " ")
			set.Addresses = append(set.Addresses, spec.Address{Link: link, Prefix: netip.MustParsePrefix(prefix), Layer: layer})
		}

		for _, text := range []string{
			"10.1.0.0/16 10.0.0.2 10.0.0.1", "10.2.0.0/16 fd00::2", "::/0 10.0.0.2", "10.3.0.0/16 0.0.0.0", "10.4.0.0/16 224.0.0.1",
			"10.5.0.0/16 10.0.0.2 fd00::1", "::ffff:10.6.0.0/112 fd00::2", "fd01::/64 fe80::1", "224.0.0.0/4",
		} {
			words := append(strings.Fields(text), "", "")
			r := spec.Route{Link: "eth0", Dst: netip.MustParsePrefix(words[0]), Priority: 7, Layer: layer}
			r.Gateway, _ = netip.ParseAddr(words[1])
			r.Source, _ = netip.ParseAddr(words[2])
			set.Routes = append(set.Routes, r)
		}

		merged := spec.Merge(set)

		var got []string
		for _, a := range merged.Addresses {
			got = append(got, a.ID())
		}

		for _, r := range merged.Routes {
			got = append(got, r.Destination().String())
		}

		slices.Sort(got)
		equal(t, layer.String(), strings.Join(got, " "), "10.1.0.0/16 224.0.0.0/4 eth0/10.0.0.1/24 eth0/fd00::1/64 eth1/10.0.1.1/24 fd01::/64")

		told := strings.Join(merged.Warnings, "\n")
		for _, want := range []string{
			"address 0.0.0.0/0 of eth0 is no address", "224.0.0.1/24 of eth0 is a group's", "::ffff:10.0.0.1/120 of eth0 is an IPv4 address",
			"ff02::1/64 of eth0", "fd00::2/64 of eth1 is left out: IPv6 needs an MTU of at least 1280, and 1000 is asked for",
			"10.2.0.0/16 of eth0 is left out: its gateway fd00::2 is of the other", "::/0 of eth0", "gateway 0.0.0.0 is no address",
			"gateway 224.0.0.1 is a group's", "source fd00::1 is of the other IP version", "::ffff:10.6.0.0/112 of eth0",
		} {
			if strings.Count(told, want) != 1 {
				t.Errorf("layer %s: %q is not told once in\n%s", layer, want, told)
			}
		}

		if len(merged.Warnings) != 11 {
			t.Errorf("layer %s: told\n%s", layer, told)
		}
	}
}
