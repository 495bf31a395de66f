package spec_test

import (
	"testing"

	"github.com/dactyl-os/dactyl/proto/config"
	"github.com/dactyl-os/dactyl/services/kit/cmdline"

	"github.com/dactyl-os/dactyl/services/networkd/internal/spec"
)

// TestWhoAsks: on a machine every hardware link asks, unless a source knows better about that link.
func TestWhoAsks(t *testing.T) {
	const machine = "talos.platform=metal "

	for name, c := range map[string]struct{ cmdline, config, want string }{
		"a container does not":   {"talos.platform=container", "", ""},
		"without a platform":     {"", "", ""},
		"a machine does":         {machine, "", "dhcp eth0 metric 1024 (default)\ndhcp eth1 metric 1025 (default)"},
		"not where it is static": {machine + "ip=10.0.0.2::10.0.0.1:24:node:eth0:off", "", "dhcp eth1 metric 1025 (default)"},
		"asked for by the kernel": {
			machine + "ip=eth1:dhcp", "", "dhcp eth0 metric 1024 (default)\ndhcp eth1 metric 1024 (cmdline)",
		},
		"an ignored link": {machine + "talos.network.interface.ignore=eth0", "", "dhcp eth1 metric 1025 (default)"},
		"the configuration asks, with a metric": {
			machine + "ip=10.0.0.2::10.0.0.1:24:node:eth0:off", "{interface: eth0, dhcp: true, dhcpOptions: {routeMetric: 77}}",
			"dhcp eth0 metric 77 (configuration)\ndhcp eth1 metric 1025 (default)",
		},
		"the configuration only speaks of it": {machine, "{interface: eth1, mtu: 1400}", "dhcp eth0 metric 1024 (default)"},
		"not for IPv4":                        {machine, "{interface: eth1, dhcp: true, dhcpOptions: {ipv4: false}}", "dhcp eth0 metric 1024 (default)"},
		"in a container, asked":               {"talos.platform=container", "{interface: eth0, dhcp: true}", "dhcp eth0 metric 1024 (configuration)"},
	} {
		params := cmdline.Parse(c.cmdline)
		sets := []spec.Set{{DHCP: spec.Automatic(params, devices)}, spec.FromCmdline(params, devices)}

		if c.config != "" {
			loaded, err := config.Load([]byte("version: v1alpha1\nmachine: {network: {interfaces: [" + c.config + "]}}\n"))
			if err != nil {
				t.Fatal(err)
			}

			sets = append(sets, spec.FromConfig(loaded.Machine(), devices))
		}

		equal(t, name, render(spec.Set{DHCP: spec.Merge(sets...).DHCP}), c.want)
	}
}
