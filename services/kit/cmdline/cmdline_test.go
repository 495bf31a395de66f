package cmdline

import (
	"fmt"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"testing"
)

func TestParse(t *testing.T) {
	p := Parse(`BOOT_IMAGE=/vmlinuz talos.platform=metal quiet console=tty0 console=ttyS0,115200 ` +
		`talos.environment="A=b c" "talos.environment=D=e=f" talos.environment=junk talos.dashboard.disabled=1 talos.experimental.wipe=system panic=0 -- single` + "\n")

	for key, want := range map[string][]string{
		"BOOT_IMAGE": {"/vmlinuz"},
		Platform:     {"metal"},
		"quiet":      {""},
		"console":    {"tty0", "ttyS0,115200"},
		Environment:  {"A=b c", "D=e=f", "junk"},
		"single":     nil,
	} {
		if got := p.All(key); !slices.Equal(got, want) {
			t.Errorf("%s is %q, want %q", key, got, want)
		}
	}

	if got := p.Variables(); !reflect.DeepEqual(got, map[string]string{"A": "b c", "D": "e=f"}) {
		t.Errorf("variables are %v", got)
	}

	if !p.Bool(DashboardDisabled) || !p.Bool("quiet") || p.Bool(Panic) || p.Bool("absent") {
		t.Error("switches are read wrong")
	}

	if got := p.Last("console"); got != "ttyS0,115200" {
		t.Errorf("last console is %q", got)
	}
}

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
		ip, err := ParseIP(text)

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

func TestIPsGivesTheRightOnesAndTheErrors(t *testing.T) {
	ips, err := Parse("ip=10.0.0.1 ip=nonsense ip=eth1:dhcp").IPs()
	if len(ips) != 2 || !ips[1].DHCP() || ips[0].DHCP() || ips[0].Address.Addr() != netip.MustParseAddr("10.0.0.1") {
		t.Errorf("got %v", ips)
	}

	if err == nil || !strings.HasPrefix(err.Error(), "ip=nonsense: address:") {
		t.Errorf("error is %v", err)
	}
}

func FuzzParse(f *testing.F) {
	for _, seed := range []string{
		"", "quiet", "talos.platform=metal console=tty0 console=ttyS0", `a="b c" "d=e f"`, `"`, `="x"`, "--", "a=b -- c=d", "ip=[::1", "ip=::::::::::",
		"ip=10.5.0.2::10.5.0.1:255.255.255.0:node:eth0:off talos.config=http://h/${uuid}?a=b", "ip=[fe80::1%eth0]/64", "talos.environment=A=B", "\x00=\xff",
	} {
		f.Add(seed)
	}

	f.Fuzz(func(t *testing.T, line string) {
		p := Parse(line)
		p.Variables()

		ips, _ := p.IPs()
		for _, ip := range ips {
			if ip.Static() && ip.Address.Bits() < 0 {
				t.Errorf("address without a prefix: %v", ip)
			}
		}

		// Quotes inside words stay as they are and change how the text would be split again.
		if strings.Contains(line, `"`) {
			return
		}

		again := Parse(p.String())
		if !reflect.DeepEqual(p, again) && len(p.keys) > 0 {
			t.Errorf("%q became %q\n%v\n%v", line, p.String(), p, again)
		}
	})
}
