package spec

import (
	"fmt"
	"testing"
)

func TestParseIP(t *testing.T) {
	for text, want := range map[string]string{
		"dhcp":      "{addr= gw= host= dev= auto=dhcp dns=[] ntp=[]}",
		"eth0:dhcp": "{addr= gw= host= dev=eth0 auto=dhcp dns=[] ntp=[]}",
		"10.5.0.2::10.5.0.1:255.255.255.0:node-1:eth0:off":                            "{addr=10.5.0.2/24 gw=10.5.0.1 host=node-1 dev=eth0 auto=none dns=[] ntp=[]}",
		"172.20.0.2:172.21.0.1:172.20.0.1:24:master:eth1::10.0.0.1:10.0.0.2:10.0.0.3": "{addr=172.20.0.2/24 gw=172.20.0.1 host=master dev=eth1 auto= dns=[10.0.0.1 10.0.0.2] ntp=[10.0.0.3]}",
		"[2001:db8::2]::[2001:db8::1]:64:six:eth0:none:[2001:4860:4860::8888]":        "{addr=2001:db8::2/64 gw=2001:db8::1 host=six dev=eth0 auto=none dns=[2001:4860:4860::8888] ntp=[]}",
		"[2001:db8::2]/64::[2001:db8::1]":                                             "{addr=2001:db8::2/64 gw=2001:db8::1 host= dev= auto= dns=[] ntp=[]}",
		":::::eth0:dhcp":                                                              "{addr= gw= host= dev=eth0 auto=dhcp dns=[] ntp=[]}",
		"10.0.0.1":                                                                    "{addr=10.0.0.1/32 gw= host= dev= auto= dns=[] ntp=[]}",
		"10.0.0.1::::::":                                                              "{addr=10.0.0.1/32 gw= host= dev= auto= dns=[] ntp=[]}",
		"10.0.0.1:::255.0.255.0":                                                      "error: netmask 255.0.255.0 has holes",
		"10.0.0.1:::33":                                                               "error: netmask 33 does not fit address 10.0.0.1",
		"10.0.0.1:::x":                                                                `error: netmask "x" is neither dotted nor a number of bits`,
		"10.0.0.300":                                                                  `error: address: ParseAddr("10.0.0.300"): IPv4 field has value >255`,
		"[2001:db8::2":                                                                "error: a bracket is not closed",
		"[::1]x:":                                                                     `error: "x" follows a bracket`,
		":::255.255.255.0":                                                            "error: a netmask without an address",
		"10.0.0.1:::8:h:eth0:sometimes":                                               `error: unknown autoconfiguration "sometimes"`,
		"1:2:3:4:5:6:7:8:9:10:11":                                                     "error: 11 fields, at most 10 are known",
		"10.0.0.1::gate":                                                              `error: gateway: ParseAddr("gate"): unable to parse IP`,
	} {
		ip, err := parseIP(text)

		got := fmt.Sprintf("{addr=%s gw=%s host=%s dev=%s auto=%s dns=%v ntp=%v}",
			valid(ip.Address.IsValid(), ip.Address), valid(ip.Gateway.IsValid(), ip.Gateway), ip.Hostname, ip.Device, ip.Auto, ip.DNS, ip.NTP)
		if err != nil {
			got = "error: " + err.Error()
		}

		if got != want {
			t.Errorf("ip=%s\n got %s\nwant %s", text, got, want)
		}
	}
}

func valid(ok bool, s fmt.Stringer) string {
	if !ok {
		return ""
	}

	return s.String()
}

func FuzzParseIP(f *testing.F) {
	for _, seed := range []string{"dhcp", "[::1", "::::::::::", "10.5.0.2::10.5.0.1:255.255.255.0:node:eth0:off", "[fe80::1%eth0]/64", "\x00=\xff"} {
		f.Add(seed)
	}

	f.Fuzz(func(t *testing.T, text string) {
		if ip, err := parseIP(text); err == nil && ip.Static() && ip.Address.Bits() < 0 {
			t.Errorf("address without a prefix: %v", ip)
		}
	})
}
