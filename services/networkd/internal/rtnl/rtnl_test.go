package rtnl_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/dactyl-os/dactyl/services/kit/kittest"
	"github.com/dactyl-os/dactyl/services/networkd/internal/plan"
	"github.com/dactyl-os/dactyl/services/networkd/internal/rtnl"
)

// namespace is a fresh network namespace with a veth pair eth0–peer0, seen from inside through rtnl.
func namespace(t *testing.T) (*kittest.NS, *rtnl.Conn) {
	t.Helper()
	kittest.RequireRoot(t)

	ns := kittest.NetNS(t)
	ns.Exec("ip", "link", "add", "eth0", "type", "veth", "peer", "name", "peer0")
	ns.Exec("ip", "link", "set", "peer0", "up")

	var (
		conn *rtnl.Conn
		err  error
	)

	ns.Run(func() { conn, err = rtnl.Dial() })

	if err != nil {
		t.Fatal(err)
	}

	t.Cleanup(func() { conn.Close() })

	return ns, conn
}

// settle applies until the plan is empty and gives the operations.
func settle(t *testing.T, c *rtnl.Conn, want plan.Desired, owned *plan.Owned) (ops []string) {
	t.Helper()

	for range 3 {
		s, err := c.Snapshot()
		if err != nil {
			t.Fatal(err)
		}

		p := plan.New(want, s.Observed(), *owned)
		*owned = p.Owned

		if len(p.Ops) == 0 {
			return ops
		}

		for _, op := range p.Ops {
			ops = append(ops, op.String())
		}

		if err := c.Apply(s, p.Ops); err != nil {
			t.Fatal(err)
		}
	}

	t.Fatalf("not settled after %s", strings.Join(ops, "\n"))

	return nil
}

// ipState is what `ip` says of the namespace, as sorted text; only what the test is about.
func ipState(t *testing.T, ns *kittest.NS) string {
	t.Helper()

	var links []struct {
		Name  string `json:"ifname"`
		MTU   int    `json:"mtu"`
		Flags []string
		Addrs []struct {
			Local     string
			Prefixlen int
			Broadcast string
			Scope     string
		} `json:"addr_info"`
	}

	decode(t, ns.Exec("ip", "-j", "addr"), &links)

	var lines []string

	for _, l := range links {
		if l.Name == "peer0" {
			continue
		}

		lines = append(lines, fmt.Sprintf("link %s mtu %d up=%v", l.Name, l.MTU, slices.Contains(l.Flags, "UP")))

		for _, a := range l.Addrs {
			if a.Scope != "link" {
				lines = append(lines, fmt.Sprintf("addr %s %s/%d brd %q scope %s", l.Name, a.Local, a.Prefixlen, a.Broadcast, a.Scope))
			}
		}
	}

	for _, family := range []string{"-4", "-6"} {
		var routes []struct {
			Dst, Gateway, Dev, Protocol, Prefsrc string
			Metric                               int
			Metrics                              []map[string]int
		}

		decode(t, ns.Exec("ip", "-j", family, "route"), &routes)

		for _, r := range routes {
			if r.Protocol == "static" {
				lines = append(lines, fmt.Sprintf("route %s via %s dev %s src %q metric %d %v", r.Dst, r.Gateway, r.Dev, r.Prefsrc, r.Metric, r.Metrics))
			}
		}
	}

	slices.Sort(lines)

	return strings.Join(lines, "\n")
}

func decode(t *testing.T, text string, into any) {
	t.Helper()

	if err := json.Unmarshal([]byte(text), into); err != nil {
		t.Fatalf("%v in %s", err, text)
	}
}

func address(link, prefix string) plan.Address {
	p := netip.MustParsePrefix(prefix)
	a := plan.Address{Link: link, Prefix: p}

	if p.Addr().IsLoopback() {
		a.Scope = plan.ScopeHost
	}

	return a
}

func TestApplyTwice(t *testing.T) {
	ns, conn := namespace(t)

	want := plan.Desired{
		Links: []plan.Link{{Name: "lo", Up: true}, {Name: "eth0", Up: true, MTU: 1400}},
		Addresses: []plan.Address{
			address("lo", "127.0.0.1/8"), address("lo", "::1/128"), address("lo", "192.168.0.21/24"),
			address("eth0", "10.5.0.2/24"), address("eth0", "10.5.0.102/24"), address("eth0", "10.7.0.2/31"),
			address("eth0", "fd00::2/64"),
		},
		Routes: []plan.Route{
			{Link: "eth0", Dst: netip.MustParsePrefix("0.0.0.0/0"), Gateway: netip.MustParseAddr("10.5.0.1"), Metric: 1024},
			{
				Link: "eth0", Dst: netip.MustParsePrefix("10.99.0.0/16"), Gateway: netip.MustParseAddr("10.5.0.1"),
				Src: netip.MustParseAddr("10.5.0.102"), Metric: 50, MTU: 1300,
			},
			{Link: "eth0", Dst: netip.MustParsePrefix("10.98.0.0/16"), Metric: 1024},
			{Link: "eth0", Dst: netip.MustParsePrefix("::/0"), Gateway: netip.MustParseAddr("fd00::1"), Metric: 1024},
			{Link: "eth0", Dst: netip.MustParsePrefix("2001:db8::/32"), Gateway: netip.MustParseAddr("fe80::1")},
		},
		Complete: true,
	}

	var owned plan.Owned

	settle(t, conn, want, &owned)

	const state = `addr eth0 10.5.0.102/24 brd "10.5.0.255" scope global
addr eth0 10.5.0.2/24 brd "10.5.0.255" scope global
addr eth0 10.7.0.2/31 brd "" scope global
addr eth0 fd00::2/64 brd "" scope global
addr lo 127.0.0.1/8 brd "" scope host
addr lo 192.168.0.21/24 brd "192.168.0.255" scope global
addr lo ::1/128 brd "" scope host
link eth0 mtu 1400 up=true
link lo mtu 65536 up=true
route 10.98.0.0/16 via  dev eth0 src "" metric 1024 []
route 10.99.0.0/16 via 10.5.0.1 dev eth0 src "10.5.0.102" metric 50 [map[mtu:1300]]
route 2001:db8::/32 via fe80::1 dev eth0 src "" metric 1024 []
route default via 10.5.0.1 dev eth0 src "" metric 1024 []
route default via fd00::1 dev eth0 src "" metric 1024 []`

	equal(t, ipState(t, ns), state)

	if ops := settle(t, conn, want, &owned); len(ops) > 0 {
		t.Fatalf("applied twice, did again:\n%s", strings.Join(ops, "\n"))
	}

	// A new process that knows nothing of the past adopts everything.
	var fresh plan.Owned
	if ops := settle(t, conn, want, &fresh); len(ops) > 0 {
		t.Fatalf("adopting did:\n%s", strings.Join(ops, "\n"))
	}

	// The primary address goes: its secondary stays or is put back, the route through it too.
	want.Addresses = slices.DeleteFunc(want.Addresses, func(a plan.Address) bool { return a.Key() == "eth0/10.5.0.2/24" })
	want.Links[1].MTU = 0

	settle(t, conn, want, &owned)
	equal(t, ipState(t, ns), strings.NewReplacer(
		"addr eth0 10.5.0.2/24 brd \"10.5.0.255\" scope global\n", "", "mtu 1400 up", "mtu 1500 up").Replace(state))

	// Nothing is wanted any more: only what was ours leaves.
	ns.Exec("ip", "addr", "add", "192.0.2.1/24", "dev", "eth0")
	settle(t, conn, plan.Desired{Complete: true}, &owned)
	equal(t, ipState(t, ns), `addr eth0 192.0.2.1/24 brd "" scope global
link eth0 mtu 1500 up=true
link lo mtu 65536 up=true`)
}

func TestOneFailureDoesNotHoldUpTheRest(t *testing.T) {
	ns, conn := namespace(t)

	s, err := conn.Snapshot()
	if err != nil {
		t.Fatal(err)
	}

	err = conn.Apply(s, []plan.Op{
		plan.LinkSet{Name: "eth0", Up: true, MTU: 1},
		plan.LinkSet{Name: "eth0", Up: true},
		plan.LinkSet{Name: "gone", Up: true},
		plan.AddrDel{Address: address("eth0", "10.5.0.9/24")},
		plan.AddrAdd{Address: address("eth0", "10.5.0.2/24")},
	})
	if err == nil {
		t.Fatal("no error")
	}

	equal(t, err.Error(), "link set gone up: no link \"gone\"\nlink set eth0 mtu 1 up: invalid argument: mtu less than device minimum")

	if state := ipState(t, ns); !strings.Contains(state, "addr eth0 10.5.0.2/24") {
		t.Fatal(state)
	}
}

// TestReason: where the kernel gives no reason there is a likely one.
func TestReason(t *testing.T) {
	_, conn := namespace(t)

	s, err := conn.Snapshot()
	if err != nil {
		t.Fatal(err)
	}

	err = errors.Join(conn.Apply(s, []plan.Op{plan.LinkSet{Name: "eth0", Up: true, MTU: 1000}}),
		conn.Apply(s, []plan.Op{plan.AddrAdd{Address: address("eth0", "fd00::1/64")}}))
	if err == nil || !strings.HasSuffix(err.Error(), "invalid argument (a link whose MTU is below 1280 has no IPv6)") {
		t.Error(err)
	}
}

func TestMonitorCoalesces(t *testing.T) {
	ns, conn := namespace(t)

	var (
		monitor *rtnl.Monitor
		err     error
	)

	ns.Run(func() { monitor, err = conn.Monitor() })

	if err != nil {
		t.Fatal(err)
	}

	ctx, cancel := context.WithCancel(t.Context())
	changes, done := make(chan struct{}, 1000), make(chan error, 1)

	go func() { done <- monitor.Run(ctx, func() { changes <- struct{}{} }) }()

	var owned plan.Owned

	settle(t, conn, hundred(), &owned)

	select {
	case <-changes:
	case <-time.After(5 * time.Second):
		t.Fatal("no change told")
	}

	cancel()

	if err := <-done; err != nil {
		t.Fatal(err)
	}

	if n := len(changes); n > 20 {
		t.Fatalf("%d calls for 100 addresses", n+1)
	}
}

// TestLatest: a snapshot is taken anew when the kernel has changed, whoever changed it, and not without that.
func TestLatest(t *testing.T) {
	ns, conn := namespace(t)

	var (
		monitor *rtnl.Monitor
		err     error
	)

	ns.Run(func() { monitor, err = conn.Monitor() })

	if err != nil {
		t.Fatal(err)
	}

	ctx, cancel := context.WithCancel(t.Context())
	changes, done := make(chan struct{}, 1000), make(chan error, 1)

	go func() { done <- monitor.Run(ctx, func() { changes <- struct{}{} }) }()

	latest := func(read func() (rtnl.Snapshot, error)) *rtnl.Address {
		t.Helper()

		s, err := read()
		if err != nil || len(s.Addresses) == 0 {
			t.Fatal(s, err)
		}

		return &s.Addresses[0]
	}

	ns.Exec("ip", "addr", "add", "192.0.2.1/24", "dev", "eth0")
	<-changes

	before := latest(conn.Latest)

	kittest.Await(t, 5*time.Second, "the same snapshot twice", func() bool {
		again := latest(conn.Latest)
		same := before == again
		before = again

		return same
	})

	ns.Exec("ip", "addr", "add", "192.0.2.2/24", "dev", "eth0")
	kittest.Await(t, 5*time.Second, "a snapshot after another's change", func() bool {
		s, err := conn.Latest()

		return err == nil && slices.ContainsFunc(s.Addresses, func(a rtnl.Address) bool { return a.Prefix.String() == "192.0.2.2/24" })
	})

	if before == latest(conn.Latest) {
		t.Error("the snapshot from before a change")
	}

	// A change of our own is in the snapshot after it, at once, and the monitor's word of it makes nobody take another.
	kittest.Await(t, 20*time.Second, "one snapshot for a change of our own", func() bool {
		for len(changes) > 0 {
			<-changes
		}

		s, err := conn.Latest()
		if err != nil {
			t.Fatal(err)
		}

		op := plan.Op(plan.AddrAdd{Address: address("eth0", "10.5.0.2/24")})
		if slices.ContainsFunc(s.Addresses, func(a rtnl.Address) bool { return a.Prefix.String() == "10.5.0.2/24" }) {
			op = plan.AddrDel{Address: address("eth0", "10.5.0.2/24")}
		}

		if err := conn.Apply(s, []plan.Op{op}); err != nil {
			t.Fatal(err)
		}

		applied, err := conn.Applied()
		if err != nil || len(applied.Addresses) == len(s.Addresses) {
			t.Fatalf("%v: the change is not in the snapshot after it", err)
		}

		<-changes // the readers are woken

		return latest(conn.Latest) == &applied.Addresses[0]
	})

	cancel()

	if err := <-done; err != nil {
		t.Fatal(err)
	}

	if first, second := latest(conn.Latest), latest(conn.Latest); first == second {
		t.Error("a snapshot counts as the latest although nobody listens")
	}
}

func hundred() plan.Desired {
	want := plan.Desired{Links: []plan.Link{{Name: "eth0", Up: true}}, Complete: true}
	for i := range 100 {
		want.Addresses = append(want.Addresses, address("eth0", fmt.Sprintf("10.77.%d.1/24", i)))
	}

	return want
}

func BenchmarkHundredAddresses(b *testing.B) {
	kittest.RequireRoot(b)

	ns := kittest.NetNS(b)
	ns.Exec("ip", "link", "add", "eth0", "type", "veth", "peer", "name", "peer0")

	var conn *rtnl.Conn

	ns.Run(func() { conn, _ = rtnl.Dial() })
	defer conn.Close()

	want := hundred()

	for b.Loop() {
		s, err := conn.Snapshot()
		if err != nil {
			b.Fatal(err)
		}

		if err := conn.Apply(s, plan.New(want, s.Observed(), plan.Owned{}).Ops); err != nil {
			b.Fatal(err)
		}

		b.StopTimer()
		ns.Exec("ip", "addr", "flush", "dev", "eth0")
		b.StartTimer()
	}
}

func equal(t *testing.T, got, want string) {
	t.Helper()

	if got != want {
		t.Fatalf("--- got\n%s\n--- want\n%s", got, want)
	}
}
