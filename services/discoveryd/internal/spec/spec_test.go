package spec_test

import (
	"crypto/sha256"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/dactyl-os/dactyl/proto/config"
	"github.com/dactyl-os/dactyl/proto/resource/enums"
	"github.com/dactyl-os/dactyl/proto/resource/runtime"
	"github.com/dactyl-os/dactyl/services/discoveryd/internal/record"
	"github.com/dactyl-os/dactyl/services/discoveryd/internal/spec"
)

func load(t *testing.T, text string) *config.Config {
	t.Helper()

	c, err := config.Load([]byte("version: v1alpha1\n" + text))
	if err != nil {
		t.Fatal(err)
	}

	return c
}

func addrs(text string) []netip.Addr {
	var list []netip.Addr
	for _, field := range strings.Fields(text) {
		list = append(list, netip.MustParseAddr(field))
	}

	return list
}

const controlPlane = `
machine:
  type: controlplane
  network:
    interfaces:
      - interface: eth0
        vip: {ip: 10.5.0.100}
        vlans: [{vlanId: 5, vip: {ip: 10.6.0.100}}]
cluster:
  id: cluster-1
  secret: c2VjcmV0
  clusterName: forge
  controlPlane: {endpoint: "https://api.example.org:6443", localAPIServerPort: 7443}
  network: {podSubnets: [10.244.0.0/16], serviceSubnets: [10.96.0.0/12]}
  discovery: {enabled: true}
`

func TestRecord(t *testing.T) {
	t.Parallel()

	node := spec.Node{
		Hostname: "CP-1", Domainname: "example.org",
		Routed: addrs("10.5.0.2 10.5.0.100 10.6.0.100 10.244.1.1 10.96.0.10 127.0.0.1 fe80::1 fd00::2 10.5.0.2"),
	}

	r := spec.Record(load(t, controlPlane), node, "v1.8.0")
	if got, want := fmt.Sprintf("%s %s %s %d %d %v", r.Hostname, r.Nodename, r.OperatingSystem, r.MachineType, r.APIServerPort, r.Addresses),
		"CP-1.example.org cp-1 Dactyl (v1.8.0) 2 7443 [10.5.0.2 fd00::2]"; got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}

	worker := spec.Record(load(t, "machine:\n  type: worker\n"), spec.Node{Hostname: "w"}, "v1")
	if worker.APIServerPort != 0 || worker.MachineType != 3 || spec.Member(worker).ControlPlane != nil {
		t.Errorf("worker: %+v", worker)
	}
}

func TestSettings(t *testing.T) {
	t.Parallel()

	c := load(t, controlPlane)
	key := sha256.Sum256([]byte("c2VjcmV0"))
	node := spec.Node{Routed: addrs("10.5.0.100 10.5.0.2 10.5.0.3"), All: addrs("10.5.0.100 10.5.0.2 10.5.0.3 127.0.0.1")}

	settings := spec.Settings(c, node, netip.Addr{})
	if !settings.Enabled || settings.Label != "cluster-1" || settings.Endpoint != "api.example.org" ||
		!slices.Equal(settings.Key, key[:]) || settings.Advertise != netip.MustParseAddr("10.5.0.2") {
		t.Errorf("settings: %+v", settings)
	}

	// The address in use stays as long as it is there, so that the others need not learn another.
	if kept := spec.Settings(c, node, netip.MustParseAddr("10.5.0.3")); kept.Advertise != netip.MustParseAddr("10.5.0.3") {
		t.Errorf("moved to %s", kept.Advertise)
	}

	if moved := spec.Settings(c, node, netip.MustParseAddr("10.5.0.9")); moved.Advertise != netip.MustParseAddr("10.5.0.2") {
		t.Errorf("stayed at %s", moved.Advertise)
	}

	// The default address wins over both: others may be the same on every node.
	node.Default = netip.MustParseAddr("10.5.0.3")
	if standing := spec.Settings(c, node, netip.MustParseAddr("10.5.0.2")); standing.Advertise != node.Default {
		t.Errorf("advertises %s", standing.Advertise)
	}

	if r := spec.Record(c, node, "v1"); !slices.Equal(r.Addresses, addrs("10.5.0.3 10.5.0.2")) {
		t.Errorf("record with %s", r.Addresses)
	}
}

func TestEnabled(t *testing.T) {
	t.Parallel()

	for text, want := range map[string]bool{
		"machine: {type: worker}\n":              false,
		"cluster: {discovery: {}}\n":             true,
		"cluster: {discovery: {enabled: true}}":  true,
		"cluster: {discovery: {enabled: false}}": false,
	} {
		if c := load(t, text); spec.Enabled(c) != want || spec.Discovery(c).DiscoveryEnabled != want {
			t.Errorf("%q: want %v", text, want)
		}
	}

	shown := spec.Discovery(load(t, controlPlane))
	if string(shown.ServiceEncryptionKey) != "secret" || shown.ServiceClusterID != "cluster-1" || shown.RegistryServiceEnabled {
		t.Errorf("shown: %+v", shown)
	}
}

func TestHealthIsOneLine(t *testing.T) {
	t.Parallel()

	status := &runtime.MachineStatusSpec{Stage: enums.MachineStageRunning, Status: runtime.MachineStatusStatus{Ready: true}}
	if got := spec.Health(status); got != record.Ready {
		t.Errorf("a node that is well is %q", got)
	}

	status.Status = runtime.MachineStatusStatus{UnmetConditions: []runtime.UnmetCondition{{Name: "service etcdd", Reason: "Failed: panic\nat line"}, {Name: "service timed", Reason: "Waiting"}}}
	if got, want := spec.Health(status), "running, service etcdd is Failed: panic at line, service timed is Waiting"; got != want || spec.Health(nil) != "" {
		t.Errorf("%q, want %q", got, want)
	}
}
