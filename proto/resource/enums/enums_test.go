package enums

import "testing"

func TestWords(t *testing.T) {
	for want, v := range map[string]interface{ String() string }{
		"inet4": FamilyInet4, "global": ScopeGlobal, "nowhere": ScopeNowhere, "main": RoutingTableMain,
		"RoutingTable(100)": RoutingTable(100), "ether": LinkTypeEther, "loopback": LinkTypeLoopbck,
		"802.3ad": BondMode8023AD, "configuration": ConfigLayerMachineConfiguration, "controlplane": MachineTypeControlPlane,
		"static": RouteProtocolStatic, "unicast": RouteTypeUnicast, "shutting down": MachineStageShuttingDown,
		"permanent,noprefixroute":                 AddressFlags(AddressFlagPermanent | AddressFlagNoPrefixRoute),
		"UP,BROADCAST,RUNNING,MULTICAST,LOWER_UP": LinkFlags(0x11043),
		"":                  AddressFlags(0),
		"02:00:0a:05:00:02": HardwareAddr{2, 0, 10, 5, 0, 2},
	} {
		if got := v.String(); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

func TestWordsAreRead(t *testing.T) {
	var flags AddressFlags
	if err := flags.UnmarshalText([]byte("permanent, noprefixroute")); err != nil || !flags.Has(AddressFlagPermanent) || flags != 0x280 {
		t.Errorf("%v %v", flags, err)
	}
	if v, err := ParseRoutingTable("RoutingTable(100)"); err != nil || v != 100 {
		t.Errorf("%v %v", v, err)
	}
	if _, err := ParseScope("galaxy"); err == nil || err.Error() != `"galaxy" is not a Scope` {
		t.Error(err)
	}
	if err := flags.UnmarshalText([]byte("forever")); err == nil {
		t.Error("an unknown flag was taken")
	}
}
