package config_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/dactyl-os/dactyl/proto/config"
)

// TestSeverity writes down what is said of each case: on a new configuration, and on one that a machine has already. The contract's
// v1.8 client takes those of the first group, and refuses those of the second; it does not look at those of the third.
func TestSeverity(t *testing.T) {
	interfaces := func(text string) string {
		return network(t, "controlplane.yaml", "        interfaces:\n            - "+text+"\n")
	}
	machine := func(text string) string { return network(t, "controlplane.yaml", "        {}\n    "+text+"\n") }
	document := func(text string) string {
		return fixture(t, "controlplane.yaml") + "---\napiVersion: v1alpha1\n" + text + "\n"
	}
	match := func(text string) string {
		return document("kind: VolumeConfig\nname: EPHEMERAL\nprovisioning: {diskSelector: {match: '" + text + "'}}")
	}
	plain := fixture(t, "controlplane.yaml")

	var said strings.Builder

	for _, c := range []struct{ name, data string }{
		{"# the contract takes", ""},
		{"bootloader", strings.Replace(plain, "wipe: false", "bootloader: true", 1)},
		{"no v1alpha1 document", "apiVersion: v1alpha1\nkind: VolumeConfig\nname: EPHEMERAL\n"},
		{"endpoint tcp", strings.Replace(plain, "https://10.5.0.2:6443", "tcp://1.2.3.4:12345", 1)},
		{"truncated trusted root", document("kind: TrustedRootsConfig\nname: a\ncertificates: |\n    -----BEGIN CERTIFICATE-----\n    MIIB\n    -----END CERTIFICATE-----")},
		{"registry identity", strings.Replace(plain, "registries: {}", "registries: {config: {r: {tls: {ca: LS0t, clientIdentity: {crt: LS0t, key: LS0t}}}}}", 1)},
		{"encryption without provider", machine("systemDiskEncryption: {ephemeral: {keys: [{slot: 0, nodeID: {}}]}}")},
		{"KubeSpanEndpointsConfig", document("kind: KubeSpanEndpointsConfig\nextraAnnouncedEndpoints: ['192.168.13.46:52000']")},
		{"# the contract refuses", ""},
		{"hostDNS is off", strings.Replace(plain, "hostDNS:\n            enabled: true", "hostDNS:\n            enabled: false", 1)},
		{"hostDNS does not forward", strings.Replace(plain, "forwardKubeDNSToHost: true", "forwardKubeDNSToHost: false", 1)},
		{"path of SideroLink", document("kind: SideroLinkConfig\napiUrl: https://x/jointoken?token=y")},
		{"no type", strings.Replace(plain, "type: controlplane", "type: ''", 1)},
		{"match: half", match("disk.size >")},
		{"match: a number", match("disk.size")},
		{"match: no such field", match("disk.foo == 1")},
		{"match: no such function", match("nosuch()")},
		{"match: types", match(`disk.size > "10GB"`)},
		{"match: types inside", match(`disk.model == "a" && disk.size > "10GB"`)},
		{"# it cannot work", ""},
		{"etcd's CA", strings.Replace(plain, plain[strings.Index(plain, "    etcd:"):][:strings.Index(plain[strings.Index(plain, "    etcd:"):], "key:")], "    etcd:\n        ca:\n            crt: LS0t\n            ", 1)},
		{"address: nobody's", interfaces("{interface: eth0, addresses: [0.0.0.0/0, '::/64']}")},
		{"address: IPv4 in IPv6", interfaces("{interface: eth0, addresses: ['::ffff:10.0.0.1/120']}")},
		{"address: multicast", interfaces("{interface: eth0, vlans: [{vlanId: 4, addresses: [224.0.0.1/24, 'ff02::1/64']}]}")},
		{"route: families", interfaces("{interface: eth0, routes: [{network: '::/0', gateway: 10.0.0.1}, {network: 10.0.0.0/8, gateway: 10.0.0.1, source: 'fd00::1'}]}")},
		{"route: gateway", interfaces("{interface: eth0, routes: [{gateway: 0.0.0.0}, {gateway: 224.0.0.1}, {gateway: '::'}, {gateway: '::ffff:10.0.0.1'}]}")},
		{"route: network and source", interfaces("{interface: eth0, routes: [{network: '::ffff:10.0.0.0/104'}, {network: 10.0.0.0/8, source: 0.0.0.0}]}")},
		{"shared address", interfaces("{interface: eth0, vip: {ip: 0.0.0.0}}")},
		{"MTU", interfaces("{interface: eth0, mtu: 1200, addresses: [10.0.0.1/24, 'fd00::1/64'], vlans: [{vlanId: 4, mtu: 576, addresses: ['fd00:1::1/64']}]}")},
		{"selector: bracket", interfaces("{deviceSelector: {hardwareAddr: '02:[a', driver: 'e[', busPath: '['}}")},
		{"selector: letters", interfaces("{deviceSelector: {hardwareAddr: 'zz:zz', pciID: 'virtio*'}}")},
		{"selector: dashes", interfaces("{deviceSelector: {hardwareAddr: '02-00-0a-*'}}")},
		{"selector: half an address", interfaces("{interface: bond0, bond: {deviceSelectors: [{hardwareAddr: '02:00:0a'}]}}")},
		{"disk: comparison", strings.Replace(plain, "disk: /dev/sda", "diskSelector: {size: '=> 4GB'}", 1)},
		{"disk: size", strings.Replace(plain, "disk: /dev/sda", "diskSelector: {size: '> big'}", 1)},
		{"# nothing is wrong", ""},
		{"disk", strings.Replace(plain, "disk: /dev/sda", "diskSelector: {size: '>= 100 GB'}", 1)},
		{"match", match(`disk.transport == "nvme" && disk.size > 10u * GB`)},
		{"addresses and routes", interfaces("{interface: eth0, mtu: 1280, addresses: [10.0.0.1/24, 'fd00::1/64', 127.0.0.2/8, 169.254.1.1/16], " +
			"routes: [{gateway: 'fe80::1'}, {network: 0.0.0.0/0, gateway: 10.0.0.1, source: 10.0.0.2}, {network: 224.0.0.0/4}]}")},
		{"selectors", interfaces("{deviceSelector: {hardwareAddr: '02:00:0A:[0-4]?:*', busPath: '0000:00:*', pciID: '10DE:*', driver: virtio_net}}")},
		{"small MTU without IPv6", interfaces("{interface: eth0, mtu: 576, addresses: [10.0.0.1/24]}")},
	} {
		if c.data == "" {
			fmt.Fprintln(&said, c.name)

			continue
		}

		fmt.Fprintf(&said, "%s\n  new:    %s\n  stored: %s\n", c.name, outcome(t, c.data, config.New), outcome(t, c.data, config.Stored))
	}

	golden(t, "severity.txt", said.String())
}

func outcome(t *testing.T, data string, origin config.Origin) string {
	t.Helper()

	c, err := config.Load([]byte(data))
	if err != nil {
		t.Fatalf("%v\n%s", err, data)
	}

	findings, err := c.Validate(config.Container, origin)

	var parts []string
	if err != nil {
		parts = append(parts, "error: "+strings.ReplaceAll(strings.TrimPrefix(err.Error(), "machine configuration: "), "\n", "\n          "))
	}

	for kind, list := range map[string][]string{"warning": findings.Warnings, "note": findings.Notes} {
		for _, text := range list {
			parts = append(parts, kind+": "+text)
		}
	}

	if parts == nil {
		return "valid"
	}

	return strings.Join(parts, "\n          ")
}
