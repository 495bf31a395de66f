package spec_test

import (
	"fmt"
	"net"
	"strings"
	"testing"

	"github.com/dactyl-os/dactyl/proto/config"
	"github.com/dactyl-os/dactyl/services/kit/cmdline"
	"github.com/dactyl-os/dactyl/services/networkd/internal/spec"
)

var devices = []spec.Device{
	{Name: "eth1", Physical: true, HardwareAddr: mac("02:00:00:00:00:02"), Driver: "virtio_net", BusPath: "0000:00:04.0", PCIID: "1AF4:1000"},
	{Name: "eth0", Physical: true, HardwareAddr: mac("02:00:00:00:00:01"), Driver: "e1000", BusPath: "0000:00:03.0"},
	{Name: "lo", HardwareAddr: make(net.HardwareAddr, 6)},
	{Name: "veth0", HardwareAddr: mac("02:00:00:00:00:09")},
}

func mac(text string) net.HardwareAddr {
	m, err := net.ParseMAC(text)
	if err != nil {
		panic(err)
	}

	return m
}

// render is a set as text, one wish a line, in its order.
func render(s spec.Set) string {
	var b strings.Builder

	for _, l := range s.Links {
		fmt.Fprintf(&b, "link %s up=%v mtu=%d (%s)\n", l.Name, l.Up, l.MTU, l.Layer)
	}

	for _, a := range s.Addresses {
		fmt.Fprintf(&b, "address %s (%s)\n", a.ID(), a.Layer)
	}

	for _, r := range s.Routes {
		fmt.Fprintf(&b, "route %s dev %s", r.ID(), r.Link)

		if r.Source.IsValid() {
			fmt.Fprintf(&b, " src %s", r.Source)
		}

		if r.MTU != 0 {
			fmt.Fprintf(&b, " mtu %d", r.MTU)
		}

		fmt.Fprintf(&b, " (%s)\n", r.Layer)
	}

	for _, d := range s.DHCP {
		fmt.Fprintf(&b, "dhcp %s metric %d (%s)\n", d.Link, d.Metric, d.Layer)
	}

	if s.Hostname.Hostname != "" {
		fmt.Fprintf(&b, "hostname %s (%s)\n", s.Hostname.FQDN(), s.Hostname.Layer)
	}

	if len(s.Resolvers.Servers) > 0 {
		fmt.Fprintf(&b, "resolvers %v (%s)\n", s.Resolvers.Servers, s.Resolvers.Layer)
	}

	if len(s.TimeServers.Servers) > 0 {
		fmt.Fprintf(&b, "time servers %v (%s)\n", s.TimeServers.Servers, s.TimeServers.Layer)
	}

	for _, h := range s.Hosts {
		fmt.Fprintf(&b, "host %s %v\n", h.IP, h.Aliases)
	}

	for _, name := range s.Ignored {
		fmt.Fprintf(&b, "ignored %s\n", name)
	}

	for _, w := range s.Warnings {
		fmt.Fprintf(&b, "warning %s\n", w)
	}

	return strings.TrimSuffix(b.String(), "\n")
}

func TestDefaults(t *testing.T) {
	equal(t, "", render(spec.Defaults(devices)), `link lo up=true mtu=0 (default)
link eth1 up=true mtu=0 (default)
link eth0 up=true mtu=0 (default)
address lo/127.0.0.1/8 (default)
address lo/::1/128 (default)
hostname dactyl-5bq-moq (default)
resolvers [1.1.1.1 8.8.8.8] (default)
time servers [time.cloudflare.com] (default)`)
}

func TestCmdline(t *testing.T) {
	for line, want := range map[string]string{
		"ip=10.5.0.2::10.5.0.1:255.255.255.0:node-1:eth0:off": `link eth0 up=true mtu=0 (cmdline)
address eth0/10.5.0.2/24 (cmdline)
route inet4/10.5.0.1//1024 dev eth0 (cmdline)
hostname node-1 (cmdline)`,
		"ip=172.20.0.2::172.20.0.1:24::eth1:::8.8.4.4:: ip=[fd00::2]::[fd00::1]:64:::none:[fd00::53]::10.0.0.123": `link eth1 up=true mtu=0 (cmdline)
link eth0 up=true mtu=0 (cmdline)
address eth1/172.20.0.2/24 (cmdline)
address eth0/fd00::2/64 (cmdline)
route inet4/172.20.0.1//1024 dev eth1 (cmdline)
route eth0/inet6/fd00::1//1025 dev eth0 (cmdline)
resolvers [8.8.4.4 fd00::53] (cmdline)
time servers [10.0.0.123] (cmdline)`,
		"ip=10.0.0.9:::::enx020000000002 talos.hostname=box.example.org talos.network.interface.ignore=eth0": `link eth1 up=true mtu=0 (cmdline)
address eth1/10.0.0.9/32 (cmdline)
hostname box.example.org (cmdline)
ignored eth0`,
		"ip=192.168.77.9::192.168.0.2:255.255.255.255::eth0:off ip=[fd00::2]::[fe80::1]:64::eth1": `link eth0 up=true mtu=0 (cmdline)
link eth1 up=true mtu=0 (cmdline)
address eth0/192.168.77.9/32 (cmdline)
address eth1/fd00::2/64 (cmdline)
route inet4//192.168.0.2/32/1024 dev eth0 (cmdline)
route inet4/192.168.0.2//1024 dev eth0 (cmdline)
route eth1/inet6/fe80::1//1025 dev eth1 (cmdline)`,
		"ip=off ip=none ip=": "",
		"ip=dhcp ip=eth0:dhcp ip=10.0.0.2::::::dhcp bond=bond0 vlan=eth0.1:eth0": `link eth0 up=true mtu=0 (cmdline)
link eth0 up=true mtu=0 (cmdline)
dhcp eth0 metric 1024 (cmdline)
dhcp eth0 metric 1025 (cmdline)
warning kernel parameter ip=10.0.0.2::::::dhcp: automatic configuration is not supported yet
warning kernel parameter bond=bond0: not supported yet
warning kernel parameter vlan=eth0.1:eth0: not supported yet`,
		"ip=10.0.0.300 ip=10.0.0.2::fd00::1 ip=10.0.0.2::[fd00::1] ip=[fd00::1": `warning kernel parameter ip=10.0.0.300: address: ParseAddr("10.0.0.300"): IPv4 field has value >255
warning kernel parameter ip=10.0.0.2::fd00::1: gateway: ParseAddr("fd00"): unable to parse IP
warning kernel parameter ip=10.0.0.2::[fd00::1]: address 10.0.0.2/32 and gateway fd00::1 are of two families
warning kernel parameter ip=[fd00::1: a bracket is not closed`,
	} {
		equal(t, line, render(spec.FromCmdline(cmdline.Parse(line), devices)), want)
	}
}

func fromConfig(t *testing.T, text string) spec.Set {
	t.Helper()

	cfg, err := config.Load([]byte("version: v1alpha1\nmachine:\n" + text))
	if err != nil {
		t.Fatal(err)
	}

	return spec.FromConfig(cfg.Machine(), devices)
}

func TestConfig(t *testing.T) {
	for name, c := range map[string]struct{ config, want string }{
		"guide 01": {
			`  network:
    hostname: talos
    nameservers: [10.0.0.1]
    interfaces:
      - interface: eth0
        addresses: [10.0.0.201/8]
        mtu: 8765
        routes:
          - network: 0.0.0.0/0
            gateway: 10.0.0.1
      - interface: eth1
        ignore: true
      - interface: lo
        addresses: [192.168.0.21/24, 10.2.2.2/24]
  time:
    servers: [time.cloudflare.com]
`, `link eth0 up=true mtu=8765 (configuration)
link lo up=true mtu=0 (configuration)
address eth0/10.0.0.201/8 (configuration)
address lo/192.168.0.21/24 (configuration)
address lo/10.2.2.2/24 (configuration)
route inet4/10.0.0.1//1024 dev eth0 (configuration)
hostname talos (configuration)
resolvers [10.0.0.1] (configuration)
time servers [time.cloudflare.com] (configuration)
ignored eth1`,
		},
		"selectors": {
			`  network:
    interfaces:
      - deviceSelector: {hardwareAddr: "02:00:00:*:02"}
        addresses: [10.0.0.1/24]
      - deviceSelector: {driver: "E1000", busPath: "0000:00:03.*"}
        addresses: [10.0.0.2]
      - deviceSelector: {driver: mlx5}
        addresses: [10.0.0.3/24]
`, `link eth1 up=true mtu=0 (configuration)
link eth0 up=true mtu=0 (configuration)
address eth1/10.0.0.1/24 (configuration)
address eth0/10.0.0.2/32 (configuration)
warning machine.network.interfaces[2].deviceSelector: no link matches`,
		},
		"routes": {
			`  network:
    interfaces:
      - interface: eth0
        routes:
          - {network: 10.0.3.7/24, gateway: 10.0.3.1, source: 10.0.3.10, metric: 5, mtu: 1300}
          - {gateway: "fd00::1"}
          - {network: "2001:db8::/32"}
`, `link eth0 up=true mtu=0 (configuration)
route inet4/10.0.3.1/10.0.3.0/24/5 dev eth0 src 10.0.3.10 mtu 1300 (configuration)
route eth0/inet6/fd00::1//1024 dev eth0 (configuration)
route eth0/inet6//2001:db8::/32/1024 dev eth0 (configuration)`,
		},
		"not supported": {
			`  network:
    kubespan: {enabled: true}
    interfaces:
      - interface: bond0
        dhcp: true
        bond: {mode: 802.3ad, interfaces: [eth0]}
      - interface: eth0
        dhcp: false
        vip: {ip: 10.0.0.9}
        vlans: [{vlanId: 100}]
`, `link bond0 up=true mtu=0 (configuration)
link eth0 up=true mtu=0 (configuration)
dhcp bond0 metric 1024 (configuration)
warning machine.network.kubespan: not supported yet
warning machine.network.interfaces[0].bond (bond0): not supported yet
warning machine.network.interfaces[1].vlans (eth0): not supported yet
warning machine.network.interfaces[1].vip (eth0): not supported yet`,
		},
	} {
		equal(t, name, render(fromConfig(t, c.config)), c.want)
	}
}

func TestMerge(t *testing.T) {
	line := spec.FromCmdline(cmdline.Parse("ip=10.5.0.2::10.5.0.1:24:node-1:eth0:off:10.5.0.53"), devices)
	cfg := fromConfig(t, `  network:
    hostname: node-one.example.org
    disableSearchDomain: true
    extraHostEntries: [{ip: 10.0.0.7, aliases: [a, b]}]
    interfaces:
      - interface: eth0
        mtu: 1400
        addresses: [10.5.0.2/24, 10.5.0.102/24]
        routes: [{network: 0.0.0.0/0, gateway: 10.5.0.254}]
      - interface: eth1
        ignore: true
`)

	const want = `link eth0 up=true mtu=1400 (configuration)
link lo up=true mtu=0 (default)
address eth0/10.5.0.102/24 (configuration)
address eth0/10.5.0.2/24 (configuration)
address lo/127.0.0.1/8 (default)
address lo/::1/128 (default)
route inet4/10.5.0.254//1024 dev eth0 (configuration)
hostname node-one.example.org (configuration)
resolvers [10.5.0.53] (cmdline)
time servers [time.cloudflare.com] (default)
host 10.0.0.7 [a b]
ignored eth1`

	defaults := spec.Defaults(devices)
	equal(t, "in order", render(spec.Merge(defaults, line, cfg)), want)
	equal(t, "in another order", render(spec.Merge(cfg, defaults, line)), want)

	again := spec.Merge(spec.Merge(defaults, line, cfg))
	equal(t, "again", render(again), want)
}

// FuzzCmdline: no line is too strange, what it yields can be merged, and says why what it does not yield is missing.
func FuzzCmdline(f *testing.F) {
	f.Add("ip=10.5.0.2::10.5.0.1:255.255.255.0:node-1:eth0:off")
	f.Add("ip=[fd00::2]::[fd00::1]:64:::none:[fd00::53]::10.0.0.123")
	f.Add("ip=dhcp ip=: ip=[ ip=]:[ ip=::::::::::::: talos.hostname=...")

	f.Fuzz(func(t *testing.T, line string) {
		params := cmdline.Parse(line)
		s := spec.FromCmdline(params, devices)

		for _, a := range s.Addresses {
			if !a.Prefix.IsValid() {
				t.Fatalf("%q gave an invalid address", line)
			}
		}

		if merged := spec.Merge(spec.Defaults(devices), s); merged.Hostname.Hostname == "" {
			t.Fatalf("%q took the host name away", line)
		}
	})
}

func equal(t *testing.T, what, got, want string) {
	t.Helper()

	if got != want {
		t.Errorf("%s\n--- got\n%s\n--- want\n%s", what, got, want)
	}
}
