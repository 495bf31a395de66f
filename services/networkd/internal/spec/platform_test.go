package spec_test

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/dactyl-os/dactyl/services/kit/cmdline"
	"github.com/dactyl-os/dactyl/services/kit/kittest"

	"github.com/dactyl-os/dactyl/services/networkd/internal/spec"
)

// The guide's document, as what is asked for and what is not done yet.
func TestFromMeta(t *testing.T) {
	data, err := os.ReadFile("testdata/metal.yaml")
	if err != nil {
		t.Fatal(err)
	}

	set, err := spec.FromMeta(data)
	if err != nil {
		t.Fatal(err)
	}

	kittest.Golden(t, "metal.txt", []byte(show(set)))
}

func show(s spec.Set) string {
	var out strings.Builder

	for _, l := range s.Links {
		fmt.Fprintf(&out, "link %s up %v mtu %d, %s\n", l.Name, l.Up, l.MTU, l.Layer)
	}

	for _, a := range s.Addresses {
		fmt.Fprintf(&out, "address %s, %s\n", a.ID(), a.Layer)
	}

	for _, r := range s.Routes {
		fmt.Fprintf(&out, "route %s via %s metric %d, %s\n", r.Destination(), r.Gateway, r.Priority, r.Layer)
	}

	for _, d := range s.DHCP {
		fmt.Fprintf(&out, "dhcp %s\n", d.Link)
	}

	fmt.Fprintf(&out, "name %s, %s\n", s.Hostname.FQDN(), s.Hostname.Layer)
	fmt.Fprintf(&out, "resolvers %s, %s\n", s.Resolvers.Servers, s.Resolvers.Layer)
	fmt.Fprintf(&out, "time %s, %s\n", s.TimeServers.Servers, s.TimeServers.Layer)

	for _, w := range s.Warnings {
		fmt.Fprintln(&out, "warning:", w)
	}

	return out.String()
}

// Small documents: what they become, or why they are refused.
func TestFromMetaSections(t *testing.T) {
	for _, c := range []struct{ text, want string }{
		{"", ""},
		{`{"hostnames": [{"hostname": "h", "domainname": "some.org"}]}`, "name h.some.org, platform"},
		{"hostnames: [{hostname: h.some.org, layer: configuration}]", "name h.some.org, platform"},
		{"resolvers: [{dnsServers: [8.8.8.8, 1.1.1.1], layer: platform}]", "resolvers [8.8.8.8 1.1.1.1], platform"},
		{"timeServers: [{timeServers: [169.254.169.254], layer: platform}]", "time [169.254.169.254], platform"},
		{"links: [{name: en9sp0, up: true, mtu: 9000}]", "link en9sp0 up true mtu 9000, platform"},
		{"links: [{name: eth0.35, kind: vlan, type: ether, parentName: eth0, vlan: {vlanID: 35, vlanProtocol: 802.1ad}}]", "links[0] (eth0.35): kind vlan is not supported yet"},
		{"routes: [{dst: 0.0.0.0/0, gateway: 10.0.0.1, outLinkName: eth0}]", "route 0.0.0.0/0 via 10.0.0.1 metric 0, platform"},
		{"routes: [{dst: 10.0.0.9/8, outLinkName: eth0, table: local}]", "routes[0]: table local is not supported yet"},

		{"addresses: [", "error: META 0x0a: yaml: "},
		{"adresses: []", "field adresses not found"},
		{"addresses: [{address: 10.0.0.1/24, link: eth0}]", "field link not found"},
		{"addresses: [{address: 10.0.0.1, linkName: eth0}]", "line 1"},
		{"addresses: [{address: 10.0.0.1/24}]", "error: META 0x0a: addresses[0]: address and linkName are needed"},
		{"links: [{up: true}]", "error: META 0x0a: links[0]: name is missing"},
		{"routes: [{gateway: 10.0.0.1}]", "error: META 0x0a: routes[0]: outLinkName is missing"},
		{"routes: [{outLinkName: eth0}]", "neither dst nor gateway is given"},
		{"routes: [{dst: 10.0.0.0/8, gateway: 'fd00::1', outLinkName: eth0}]", "are of two families"},
		{"hostnames: [{hostname: a}, {hostname: b}]", "error: META 0x0a: hostnames: one entry is needed, there are 2"},
		{"links: []\n---\nlinks: []", "a second document"},
	} {
		set, err := spec.FromMeta([]byte(c.text))

		got := show(set)
		if err != nil {
			got = "error: " + err.Error()
		}

		if !strings.Contains(got, c.want) {
			t.Errorf("%s: got %q, want %q", c.text, got, c.want)
		}
	}
}

// A link that META names is not asked about by DHCP; the machine configuration counts more than META.
func TestPlatformLayer(t *testing.T) {
	devices := []spec.Device{{Name: "eth0", Physical: true}, {Name: "eth1", Physical: true}}

	platform, err := spec.FromMeta([]byte("links: [{name: eth0, up: true}]\nhostnames: [{hostname: of-meta}]\naddresses: [{address: 10.0.0.2/24, linkName: eth0}]"))
	if err != nil {
		t.Fatal(err)
	}

	defaults := spec.Defaults(devices)
	defaults.DHCP = spec.Automatic(cmdline.Parse("talos.platform=metal"), devices)

	configured := spec.Set{Hostname: spec.Hostname{Hostname: "of-configuration", Layer: spec.Configuration}}

	for _, c := range []struct {
		sets []spec.Set
		want string
	}{
		{[]spec.Set{defaults}, "dhcp eth0\ndhcp eth1\n"},
		{[]spec.Set{defaults, platform}, "dhcp eth1\nname of-meta, platform"},
		{[]spec.Set{platform, defaults, configured}, "dhcp eth1\nname of-configuration, configuration"},
	} {
		if got := show(spec.Merge(c.sets...)); !strings.Contains(got, c.want) {
			t.Errorf("got\n%swant\n%s", got, c.want)
		}
	}
}
