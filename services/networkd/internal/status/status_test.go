package status_test

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/dactyl-os/dactyl/services/networkd/internal/plan"
	"github.com/dactyl-os/dactyl/services/networkd/internal/rtnl"
	"github.com/dactyl-os/dactyl/services/networkd/internal/status"
)

func address(link uint32, prefix string) rtnl.Address {
	return rtnl.Address{
		LinkIndex: link, LinkName: map[uint32]string{1: "lo", 2: "eth0", 3: "eth1"}[link], Prefix: netip.MustParsePrefix(prefix),
	}
}

func snapshot(addresses ...rtnl.Address) rtnl.Snapshot {
	return rtnl.Snapshot{
		Links: []rtnl.Link{
			{Index: 1, Name: "lo", Flags: unix.IFF_UP}, {Index: 2, Name: "eth0", Flags: unix.IFF_UP}, {Index: 3, Name: "eth1"},
		},
		Addresses: addresses,
	}
}

// One node's addresses as they come and go; every step starts from the one before.
func TestNodeAddresses(t *testing.T) {
	lo, local, second := address(1, "127.0.0.1/8"), address(2, "fe80::1/64"), address(2, "10.5.0.102/24")
	extra, down, overlay := address(1, "192.168.0.21/24"), address(3, "10.9.0.1/24"), address(2, "fdae:41e4:649b:9303::1/64")

	var before map[string][]netip.Prefix

	for _, c := range []struct {
		has  []rtnl.Address
		want string
	}{
		{[]rtnl.Address{lo, local}, "accumulative: []\ncurrent: []\nrouted: []"},
		{
			[]rtnl.Address{lo, extra, second, down},
			"accumulative: [10.5.0.102/24 192.168.0.21/24]\ncurrent: [10.5.0.102/24 192.168.0.21/24]\n" +
				"default: [10.5.0.102/24]\nrouted: [10.5.0.102/24 192.168.0.21/24]",
		},
		{
			[]rtnl.Address{address(2, "10.5.0.2/24"), second, overlay},
			"accumulative: [10.5.0.2/24 10.5.0.102/24 192.168.0.21/24 fdae:41e4:649b:9303::1/64]\n" +
				"current: [10.5.0.2/24 10.5.0.102/24 fdae:41e4:649b:9303::1/64]\ndefault: [10.5.0.102/24]\n" +
				"routed: [10.5.0.2/24 10.5.0.102/24]",
		},
		{
			[]rtnl.Address{address(2, "10.5.0.2/24")},
			"accumulative: [10.5.0.2/24 10.5.0.102/24 192.168.0.21/24 fdae:41e4:649b:9303::1/64]\n" +
				"current: [10.5.0.2/24]\ndefault: [10.5.0.2/24]\nrouted: [10.5.0.2/24]",
		},
	} {
		before = status.NodeAddresses(snapshot(c.has...), before)

		var lines []string
		for _, id := range slices.Sorted(maps.Keys(before)) {
			lines = append(lines, fmt.Sprintf("%s: %v", id, before[id]))
		}

		if got := strings.Join(lines, "\n"); got != c.want {
			t.Errorf("--- got\n%s\n--- want\n%s", got, c.want)
		}
	}
}

func TestIDs(t *testing.T) {
	s := snapshot(address(2, "10.5.0.2/24"))

	for _, r := range []plan.Route{
		{Table: 254, Dst: netip.MustParsePrefix("0.0.0.0/0"), Gateway: netip.MustParseAddr("10.5.0.1"), Link: "eth0", Metric: 1024, Type: 1},
		{Table: 254, Dst: netip.MustParsePrefix("10.5.0.0/24"), Link: "eth0"},
		{Table: 255, Dst: netip.MustParsePrefix("127.0.0.0/8"), Link: "lo"},
		{Table: 254, Dst: netip.MustParsePrefix("fe80::/64"), Link: "eth0", Metric: 256},
	} {
		s.Routes = append(s.Routes, rtnl.Route{Route: r})
	}

	got := strings.Join(slices.Sorted(maps.Keys(status.Routes(s))), "\n")
	if want := "eth0/inet6//fe80::/64/256\ninet4//10.5.0.0/24/0\ninet4/10.5.0.1//1024\nlocal/inet4//127.0.0.0/8/0"; got != want {
		t.Errorf("--- got\n%s\n--- want\n%s", got, want)
	}

	if _, ok := status.Addresses(s)["eth0/10.5.0.2/24"]; !ok {
		t.Error("the address has another ID")
	}

	if address, connectivity := status.Ready(s); !address || !connectivity {
		t.Error("not ready")
	}
}
