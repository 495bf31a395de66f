package network

import (
	"net/netip"
	"testing"

	"go.yaml.in/yaml/v4"

	"github.com/dactyl-os/dactyl/proto/resource/enums"
)

func TestAddressYAML(t *testing.T) {
	spec := &AddressStatusSpec{
		Address: netip.MustParsePrefix("10.5.0.2/24"), Local: netip.MustParseAddr("10.5.0.2"),
		Broadcast: netip.MustParseAddr("10.5.0.255"), LinkIndex: 7, LinkName: "eth0", Family: enums.FamilyInet4,
		Flags: enums.AddressFlags(enums.AddressFlagPermanent),
	}
	got, err := yaml.Marshal(spec)
	want := `address: 10.5.0.2/24
local: 10.5.0.2
broadcast: 10.5.0.255
linkIndex: 7
linkName: eth0
family: inet4
scope: global
flags: permanent
`
	if err != nil || string(got) != want {
		t.Errorf("%v\n%s", err, got)
	}
}

func TestIDs(t *testing.T) {
	gw := netip.MustParseAddr("10.5.0.1")
	for want, got := range map[string]string{
		"eth0/10.5.0.2/24":               AddressID("eth0", netip.MustParsePrefix("10.5.0.2/24")),
		"eth0/inet4/10.5.0.1//1024":      RouteID(enums.RoutingTableMain, enums.FamilyInet4, netip.Prefix{}, gw, 1024, "eth0"),
		"local/lo/inet4//127.0.0.0/8/0":  RouteID(enums.RoutingTableLocal, enums.FamilyInet4, netip.MustParsePrefix("127.0.0.0/8"), netip.Addr{}, 0, "lo"),
		"configuration/eth0/10.5.0.2/24": LayeredID(enums.ConfigLayerMachineConfiguration, AddressID("eth0", netip.MustParsePrefix("10.5.0.2/24"))),
	} {
		if got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}
