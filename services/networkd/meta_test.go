package networkd_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/dactyl-os/dactyl/proto/machine"
	"github.com/dactyl-os/dactyl/proto/resource/network"
	"github.com/dactyl-os/dactyl/services/kit/kittest"
)

// metaNetwork is of the kind that a machine without DHCP is given.
const metaNetwork = `links: [{name: eth0, up: true, mtu: 1400, layer: platform}]
addresses: [{address: 10.9.0.5/24, linkName: eth0, family: inet4, scope: global, flags: permanent, layer: platform}]
routes: [{family: inet4, gateway: 10.9.0.1, outLinkName: eth0, table: main, priority: 1024, scope: global, type: unicast, protocol: static, layer: platform}]
hostnames: [{hostname: of-meta, domainname: some.org, layer: platform}]
resolvers: [{dnsServers: [10.9.0.53], layer: platform}]
timeServers: [{timeServers: [10.9.0.123], layer: platform}]
`

const metaApplied = `eth0@if2         UP             10.9.0.5/24 
default via 10.9.0.1 dev eth0 proto static metric 1024 
10.9.0.0/24 dev eth0 proto kernel scope link src 10.9.0.5 
lo               UNKNOWN        127.0.0.1/8 
`

// TestMetaNetwork: META's key 0x0a, as configd has it, is the network of a metal machine in maintenance, and while it is wrong
// the network stays as it was.
func TestMetaNetwork(t *testing.T) {
	ns, root := namespace(t), t.TempDir()

	if err := os.Mkdir(filepath.Join(root, "proc"), 0o755); err != nil {
		t.Fatal(err)
	}

	if err := os.WriteFile(filepath.Join(root, "proc/cmdline"), []byte("talos.platform=metal\n"), 0o644); err != nil {
		t.Fatal(err)
	}

	configd := kittest.Start(t, "../configd/cmd/configd", kittest.Options{Root: root})
	write := func(value string) {
		t.Helper()

		if _, err := machine.NewMachineServiceClient(configd.Conn()).MetaWrite(t.Context(), &machine.MetaWriteRequest{Key: 0x0a, Value: []byte(value)}); err != nil {
			t.Fatal(err)
		}
	}

	write(metaNetwork)

	d := kittest.Start(t, "./cmd/networkd", kittest.Options{NS: ns, Root: root, RunDir: configd.RunDir})
	awaitState(t, ns, metaApplied)

	if mtu := ns.Exec("ip", "link", "show", "dev", "eth0"); !strings.Contains(mtu, "mtu 1400") {
		t.Errorf("no MTU of META: %s", mtu)
	}

	st := stateOf(d)

	for want, give := range map[string]func() string{
		"10.9.0.53":         func() string { return get[*network.ResolverStatus](t, st, "resolvers") },
		"10.9.0.123":        func() string { return get[*network.TimeServerStatus](t, st, "timeservers") },
		"hostname: of-meta": func() string { return get[*network.HostnameStatus](t, st, "hostname") },
		"layer: platform":   func() string { return get[*network.AddressSpec](t, st, "eth0/10.9.0.5/24") },
	} {
		kittest.AwaitNoError(t, 5*time.Second, func() error {
			if got := give(); !strings.Contains(got, want) {
				return fmt.Errorf("%q is not in\n%s", want, got)
			}

			return nil
		})
	}

	write("adresses: []")
	kittest.Await(t, 10*time.Second, "the mistake is told", func() bool { return strings.Contains(d.Log(), "field adresses not found") })
	awaitState(t, ns, metaApplied)

	write(strings.ReplaceAll(metaNetwork, "10.9.0.5/24", "10.9.0.6/24"))
	kittest.Await(t, 10*time.Second, "the corrected value is used", func() bool { return strings.Contains(state(ns), "10.9.0.6/24") })

	d.Restart()
	kittest.Await(t, 10*time.Second, "it stays", func() bool { return strings.Contains(state(ns), "10.9.0.6/24") })
}
