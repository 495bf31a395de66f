package dhcp

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"
)

// play is a server, a clock and a log of what an operator did, as text.
type play struct {
	clock  time.Duration
	said   strings.Builder
	answer func(kind string) error
	until  time.Duration
	// back is when the carrier comes back.
	back time.Duration
}

func (p *play) carrierUps() uint32 {
	if p.back > 0 && p.clock >= p.back {
		return 2
	}

	return 1
}

func (p *play) note(format string, args ...any) {
	fmt.Fprintf(&p.said, "%4.0f ", p.clock.Seconds())
	fmt.Fprintf(&p.said, format+"\n", args...)
}

func (p *play) lease() *Lease {
	return &Lease{
		Link: "eth0", Address: netip.MustParsePrefix("10.0.0.2/24"),
		Start: p.clock, Renew: p.clock + 100*time.Second, Rebind: p.clock + 175*time.Second, End: p.clock + 200*time.Second,
		CarrierUps: p.carrierUps(),
	}
}

func (p *play) Acquire(context.Context, string) (*Lease, error) { return p.say("discover") }

func (p *play) Confirm(context.Context, *Lease) (*Lease, error) { return p.say("confirm") }

func (p *play) Extend(_ context.Context, _ *Lease, broadcast bool) (*Lease, error) {
	if broadcast {
		return p.say("rebind")
	}

	return p.say("renew")
}

func (p *play) say(kind string) (*Lease, error) {
	err := p.answer(kind)
	p.note("%s: %v", kind, err)

	if err != nil {
		return nil, err
	}

	return p.lease(), nil
}

func (p *play) run(t *testing.T, start *Lease) string {
	t.Helper()

	o := &operator{
		exchange: p, link: "eth0", log: slog.New(slog.DiscardHandler), now: func() time.Duration { return p.clock },
		carrierUps: p.carrierUps,
		wait: func(_ context.Context, d time.Duration) error {
			if p.clock < p.back && p.back < p.clock+d {
				d = p.back - p.clock
			}

			if p.clock += d; p.clock >= p.until {
				return context.Canceled
			}

			return nil
		},
		changed: func(l *Lease) error {
			p.note("held: %v", l != nil)

			return nil
		},
	}

	if err := o.run(t.Context(), start); err != nil {
		t.Fatal(err)
	}

	return p.said.String()
}

func TestOperator(t *testing.T) {
	lost := errors.New("no answer")

	for name, c := range map[string]struct {
		until  time.Duration
		back   time.Duration
		answer func(p *play, kind string) error
		held   bool
		want   string
	}{
		"a server that is there": {
			until: 250 * time.Second, answer: func(*play, string) error { return nil },
			want: "   0 discover: <nil>\n   0 held: true\n 100 renew: <nil>\n 100 held: true\n 200 renew: <nil>\n 200 held: true\n",
		},
		"none at first": {
			until: 10 * time.Second, answer: func(p *play, _ string) error {
				if p.clock < 3*time.Second {
					return lost
				}

				return nil
			},
			want: "   0 discover: no answer\n   0 discover: no answer\n   2 discover: no answer\n   4 discover: <nil>\n   4 held: true\n",
		},
		"one that goes away": {
			until: 201 * time.Second, held: true, answer: func(*play, string) error { return lost },
			want: " 100 renew: no answer\n 138 renew: no answer\n 156 renew: no answer\n 166 renew: no answer\n 176 rebind: no answer\n" +
				" 188 rebind: no answer\n 198 rebind: no answer\n 200 held: false\n 200 discover: no answer\n",
		},
		"another one answers all": {
			until: 200 * time.Second, held: true, answer: func(_ *play, kind string) error {
				if kind == "renew" {
					return lost
				}

				return nil
			},
			want: " 100 renew: no answer\n 138 renew: no answer\n 156 renew: no answer\n 166 renew: no answer\n 176 rebind: <nil>\n 176 held: true\n",
		},
		"one that refuses": {
			until: 150 * time.Second, held: true, answer: func(_ *play, kind string) error {
				if kind == "renew" {
					return ErrRefused
				}

				return nil
			},
			want: " 100 renew: the server refused\n 100 held: false\n 100 discover: <nil>\n 100 held: true\n",
		},
		"the carrier comes back to the same network": {
			until: 150 * time.Second, held: true, back: 50 * time.Second, answer: func(*play, string) error { return nil },
			want: "  50 confirm: <nil>\n  50 held: true\n",
		},
		"the carrier comes back to another network": {
			until: 150 * time.Second, held: true, back: 50 * time.Second, answer: refuse("confirm", ErrRefused),
			want: "  50 confirm: the server refused\n  50 held: false\n  50 discover: <nil>\n  50 held: true\n",
		},
		"the carrier comes back to a server that does not know the address": {
			until: 150 * time.Second, held: true, back: 50 * time.Second, answer: refuse("confirm", lost),
			want: "  50 confirm: no answer\n  50 discover: <nil>\n  50 held: true\n",
		},
		"the carrier comes back to nobody": {
			until: 101 * time.Second, held: true, back: 50 * time.Second, answer: func(p *play, _ string) error {
				if p.clock < 100*time.Second {
					return lost
				}

				return nil
			},
			want: "  50 confirm: no answer\n  50 discover: no answer\n  50 held: true\n 100 renew: <nil>\n 100 held: true\n",
		},
		"a lease of the last run is not spoken of": {until: 50 * time.Second, held: true, want: ""},
	} {
		t.Run(name, func(t *testing.T) {
			p := &play{until: c.until, back: c.back}
			p.answer = func(kind string) error { return c.answer(p, kind) }

			var start *Lease
			if c.held {
				start = p.lease()
			}

			if got := p.run(t, start); got != c.want {
				t.Errorf("got\n%swant\n%s", got, c.want)
			}
		})
	}
}

// refuse gives an error to one kind of question.
func refuse(kind string, err error) func(*play, string) error {
	return func(_ *play, asked string) error {
		if asked == kind {
			return err
		}

		return nil
	}
}

func ack(t *testing.T, modifiers ...dhcpv4.Modifier) *dhcpv4.DHCPv4 {
	t.Helper()

	m, err := dhcpv4.New(append([]dhcpv4.Modifier{
		dhcpv4.WithYourIP(net.IPv4(10, 0, 0, 2)), dhcpv4.WithNetmask(net.CIDRMask(24, 32)), dhcpv4.WithLeaseTime(200),
		dhcpv4.WithRouter(net.IPv4(10, 0, 0, 1)), dhcpv4.WithOption(dhcpv4.OptServerIdentifier(net.IPv4(10, 0, 0, 1))),
	}, modifiers...)...)
	if err != nil {
		t.Fatal(err)
	}

	return m
}

func TestFromAck(t *testing.T) {
	far := &net.IPNet{IP: net.IPv4(172, 16, 5, 1), Mask: net.CIDRMask(16, 32)}

	for want, m := range map[string]*dhcpv4.DHCPv4{
		"10.0.0.2/24 [{0.0.0.0/0 10.0.0.1}] 100 175 200 mtu 0":                      ack(t),
		"10.0.0.2/24 [{172.16.0.0/16 10.0.0.9}] 100 175 200 mtu 1400":               ack(t, dhcpv4.WithOption(dhcpv4.OptClasslessStaticRoute(&dhcpv4.Route{Dest: far, Router: net.IPv4(10, 0, 0, 9)})), dhcpv4.WithOption(dhcpv4.OptGeneric(dhcpv4.OptionInterfaceMTU, []byte{0x05, 0x78}))),
		"10.0.0.2/24 [{0.0.0.0/0 10.0.0.1}] 3153600000 3153600000 3153600000 mtu 0": ack(t, dhcpv4.WithLeaseTime(0xffffffff)),
		"the answer has no address":                                                 ack(t, dhcpv4.WithYourIP(nil)),
		"the answer has no lease time":                                              ack(t, dhcpv4.WithLeaseTime(0)),
	} {
		var got string

		if l, err := FromAck("eth0", m, 0); err != nil {
			got = err.Error()
		} else {
			got = fmt.Sprintf("%s %v %.0f %.0f %.0f mtu %d", l.Address, l.Routes, l.Renew.Seconds(), l.Rebind.Seconds(), l.End.Seconds(), l.MTU)
		}

		if got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
}

// TestNamesOfTheServer: what a server says is a name may be anything, and ends up in /etc/hosts and /etc/resolv.conf.
func TestNamesOfTheServer(t *testing.T) {
	for _, test := range []struct{ host, domain, want, told string }{
		{"node\x00\x00", "example.org\x00", "node.example.org", ""},
		{"node.example.net.", "example.org", "node.example.net", ""},
		{"node", "", "node", ""},
		{"", "example.org", "", ""},
		{"node", "example.org\nnameserver 6.6.6.6", "node", `domain name "example.org\nnameserver 6.6.6.6" is no DNS name`},
		{"node", "example.org example.net", "node", `domain name "example.org example.net" is no DNS name`},
		{"node", "a\x00b", "node", `domain name "a\x00b" is no DNS name`},
		{"node\n6.6.6.6 example.org", "example.org", "", `host name "node\n6.6.6.6 example.org" is no DNS name`},
		{"my_node", "", "", `host name "my_node" is no DNS name`},
		{"my node", "", "", `host name "my node" is no DNS name`},
		{"\xffnode", "", "", `host name "\xffnode" is no DNS name`},
		{"\x1b[2J", "", "", `host name "\x1b[2J" is no DNS name`},
	} {
		l, err := FromAck("eth0", ack(t, dhcpv4.WithOption(dhcpv4.OptGeneric(dhcpv4.OptionHostName, []byte(test.host))),
			dhcpv4.WithOption(dhcpv4.OptGeneric(dhcpv4.OptionDomainName, []byte(test.domain)))), 0)
		if err != nil {
			t.Fatal(err)
		}

		set := l.Set(1024)
		if got := set.Hostname.FQDN(); got != test.want {
			t.Errorf("%q, %q: named %q, want %q", test.host, test.domain, got, test.want)
		}

		if told := strings.Join(set.Warnings, "; "); !strings.Contains(told, test.told) || (told == "") != (test.told == "") {
			t.Errorf("%q, %q: told %q, want %q", test.host, test.domain, told, test.told)
		}
	}
}

func TestGatewayBeyondTheSubnetIsReachedByTheLink(t *testing.T) {
	l, err := FromAck("eth0", ack(t, dhcpv4.WithNetmask(net.CIDRMask(32, 32))), 0)
	if err != nil {
		t.Fatal(err)
	}

	if routes := l.Set(512).Routes; len(routes) != 2 || routes[0].Dst.String() != "10.0.0.1/32" || routes[0].Gateway.IsValid() || routes[1].Priority != 512 {
		t.Errorf("routes are %v", routes)
	}
}

func TestLeaseInALine(t *testing.T) {
	for seconds, want := range map[uint32]string{
		200:        "10.0.0.2/24 on eth0 from 10.0.0.1 for 3m20s",
		0xffffffff: "10.0.0.2/24 on eth0 from 10.0.0.1 for ever",
	} {
		l, err := FromAck("eth0", ack(t, dhcpv4.WithLeaseTime(seconds)), 1234567*time.Millisecond)
		if err != nil {
			t.Fatal(err)
		}

		if l.String() != want {
			t.Errorf("got %s, want %s", l, want)
		}
	}
}
