package spec_test

import (
	"fmt"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/dactyl-os/dactyl/proto/config"
	"github.com/dactyl-os/dactyl/proto/resource/cluster"
	"github.com/dactyl-os/dactyl/proto/resource/enums"
	"github.com/dactyl-os/dactyl/proto/resource/etcd"

	"github.com/dactyl-os/dactyl/services/etcdd/internal/spec"
)

func addrs(texts ...string) []netip.Addr {
	var out []netip.Addr
	for _, t := range texts {
		out = append(out, netip.MustParseAddr(t))
	}

	return out
}

func node(prefixes ...string) spec.Node {
	n := spec.Node{Hostname: "cp-1", IPv6: true}
	for _, p := range prefixes {
		n.Routed = append(n.Routed, netip.MustParsePrefix(p))
	}

	return n
}

func TestConfig(t *testing.T) {
	c, err := config.Load([]byte("version: v1alpha1\nmachine:\n  type: controlplane\ncluster:\n  etcd:\n" +
		"    extraArgs:\n      quota-backend-bytes: \"4294967296\"\n    advertisedSubnets: [10.5.0.0/24, \"!10.5.0.128/25\"]\n"))
	if err != nil {
		t.Fatal(err)
	}

	want := etcd.ConfigSpec{
		AdvertiseValidSubnets: []string{"10.5.0.0/24"}, AdvertiseExcludeSubnets: []string{"10.5.0.128/25"},
		Image: spec.Image(), ExtraArgs: map[string]string{"quota-backend-bytes": "4294967296"},
	}
	if got := spec.Config(c); !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v", got)
	}
}

func TestAdvertised(t *testing.T) {
	for name, test := range map[string]struct {
		config  etcd.ConfigSpec
		node    spec.Node
		want    []netip.Addr
		missing string
		wrong   string
	}{
		"nothing known":      {node: spec.Node{}, missing: "waiting for the hostname"},
		"no address":         {node: node(), missing: "waiting for an address to advertise"},
		"first IPv4":         {node: node("fd00::2/64", "10.5.0.2/24", "10.5.0.3/24"), want: addrs("10.5.0.2")},
		"IPv6 only":          {node: node("fd00::2/64"), want: addrs("fd00::2")},
		"the main address":   {node: with(node("10.2.2.2/24", "10.5.0.2/24"), func(n *spec.Node) { n.Default = addrs("10.5.0.2")[0] }), want: addrs("10.5.0.2")},
		"main one is on lo":  {node: with(node("10.2.2.2/24", "10.5.0.2/24"), func(n *spec.Node) { n.Default = addrs("10.2.2.2")[0]; n.Loopback = addrs("10.2.2.2") }), want: addrs("10.5.0.2")},
		"never one on lo":    {node: with(node("10.2.2.2/24", "10.5.0.2/24"), func(n *spec.Node) { n.Loopback = addrs("10.2.2.2") }), want: addrs("10.5.0.2")},
		"all in the subnets": {config: etcd.ConfigSpec{AdvertiseValidSubnets: []string{"10.5.0.0/24"}}, node: node("10.2.2.2/24", "10.5.0.2/24", "10.5.0.3/24"), want: addrs("10.5.0.2", "10.5.0.3")},
		"only excluded":      {config: etcd.ConfigSpec{AdvertiseExcludeSubnets: []string{"10.2.0.0/16"}}, node: node("10.2.2.2/24", "10.5.0.2/24"), want: addrs("10.5.0.2")},
		"none in them":       {config: etcd.ConfigSpec{AdvertiseValidSubnets: []string{"10.9.0.0/24"}}, node: node("10.5.0.2/24"), wrong: "cluster.etcd.advertisedSubnets: no address of this node is in 10.9.0.0/24: it has [10.5.0.2]"},
	} {
		got, missing, err := spec.Member(test.config, test.node)
		if said := fmt.Sprint(err); err != nil && said != test.wrong || err == nil && test.wrong != "" {
			t.Fatalf("%s: %v, want %s", name, err, test.wrong)
		}

		if !slices.Equal(got.AdvertisedAddresses, test.want) || !strings.Contains(missing, test.missing) || (missing == "") != (test.missing == "") {
			t.Errorf("%s: %v, missing %q", name, got.AdvertisedAddresses, missing)
		}
	}
}

func with(n spec.Node, change func(*spec.Node)) spec.Node {
	change(&n)

	return n
}

func TestListen(t *testing.T) {
	got, _, _ := spec.Member(etcd.ConfigSpec{}, node("10.5.0.2/24"))
	if !slices.Equal(got.ListenPeerAddresses, addrs("::")) || !slices.Equal(got.ListenClientAddresses, addrs("::")) {
		t.Errorf("default: %v %v", got.ListenPeerAddresses, got.ListenClientAddresses)
	}

	got, _, _ = spec.Member(etcd.ConfigSpec{ListenValidSubnets: []string{"10.5.0.0/24"}}, node("10.5.0.2/24", "10.6.0.2/24"))
	if !slices.Equal(got.ListenPeerAddresses, addrs("10.5.0.2")) || !slices.Equal(got.ListenClientAddresses, addrs("10.5.0.2", "127.0.0.1")) {
		t.Errorf("subnets: %v %v", got.ListenPeerAddresses, got.ListenClientAddresses)
	}

	if _, _, err := spec.Member(etcd.ConfigSpec{ListenValidSubnets: []string{"10.5.0.0"}}, node("10.5.0.2/24")); err == nil ||
		!strings.Contains(err.Error(), `cluster.etcd.listenSubnets: subnet "10.5.0.0"`) {
		t.Errorf("bad subnet: %v", err)
	}
}

func TestPeers(t *testing.T) {
	members := []cluster.MemberSpec{
		{MachineType: enums.MachineTypeControlPlane, Addresses: addrs("10.5.0.2", "10.2.2.2")},
		{MachineType: enums.MachineTypeControlPlane, Addresses: addrs("10.5.0.3", "10.2.2.2")},
		{MachineType: enums.MachineTypeInit, Addresses: addrs("10.5.0.4")},
		{MachineType: enums.MachineTypeWorker, Addresses: addrs("10.5.0.5")},
	}
	if got := spec.Peers(members, addrs("10.5.0.2"), addrs("10.5.0.2", "10.2.2.2")); !slices.Equal(got, addrs("10.5.0.3", "10.5.0.4")) {
		t.Errorf("got %v", got)
	}
}
