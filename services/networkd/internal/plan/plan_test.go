package plan_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/dactyl-os/dactyl/services/networkd/internal/plan"
)

// The cases run in sequence on one kernel, so the way from each state to the next is tested too.
func TestSequence(t *testing.T) {
	k := newKernel("lo", "eth0")
	// Somebody else's, never to be touched.
	k.addAddress(address("eth0", "192.0.2.9/24"))

	lo := plan.Desired{
		Links:     []plan.Link{{Name: "lo", Up: true}},
		Addresses: []plan.Address{address("lo", "127.0.0.1/8"), address("lo", "::1/128")},
	}
	with := func(d plan.Desired, more plan.Desired) plan.Desired {
		return plan.Desired{
			Links:     slices.Concat(d.Links, more.Links),
			Addresses: slices.Concat(d.Addresses, more.Addresses),
			Routes:    slices.Concat(d.Routes, more.Routes),
			Complete:  more.Complete,
		}
	}
	cmdline := with(lo, plan.Desired{
		Links:     []plan.Link{{Name: "eth0", Up: true}},
		Addresses: []plan.Address{address("eth0", "10.5.0.2/24")},
		Routes:    []plan.Route{route("eth0", "0.0.0.0/0", "10.5.0.1", 1024)},
	})
	configured := with(cmdline, plan.Desired{
		Links:     []plan.Link{{Name: "eth0", MTU: 1400}},
		Addresses: []plan.Address{address("eth0", "10.5.0.102/24"), address("lo", "192.168.0.21/24")},
		Routes:    []plan.Route{route("eth0", "10.99.0.0/16", "10.5.0.1", 1024)},
		Complete:  true,
	})
	configured.Links = []plan.Link{{Name: "lo", Up: true}, {Name: "eth0", Up: true, MTU: 1400}}

	moved := with(lo, plan.Desired{
		Links:     []plan.Link{{Name: "eth0", Up: true}, {Name: "eth1", Up: true}},
		Addresses: []plan.Address{address("eth0", "10.5.0.102/24"), address("eth1", "10.6.0.1/24")},
		Routes:    []plan.Route{route("eth0", "0.0.0.0/0", "10.5.0.254", 1024)},
		Complete:  true,
	})

	const foreign = "addr 192.0.2.9/24 dev eth0\n"

	var owned plan.Owned

	for _, c := range []struct {
		name    string
		before  func()
		want    plan.Desired
		ops     string
		waiting string
		state   string
	}{
		{
			name: "defaults",
			want: lo,
			ops: `link set lo up
addr replace 127.0.0.1/8 dev lo
addr replace ::1/128 dev lo`,
			state: `addr 127.0.0.1/8 dev lo
` + foreign + `addr ::1/128 dev lo
link eth0 down mtu 1500
link lo up mtu 1500`,
		},
		{
			name: "kernel command line",
			want: cmdline,
			ops: `link set eth0 up
addr replace 10.5.0.2/24 dev eth0
route replace default via 10.5.0.1 dev eth0 metric 1024`,
			state: `addr 10.5.0.2/24 dev eth0
addr 127.0.0.1/8 dev lo
` + foreign + `addr ::1/128 dev lo
link eth0 up mtu 1500
link lo up mtu 1500
route default via 10.5.0.1 dev eth0 metric 1024`,
		},
		{
			name: "configuration",
			want: configured,
			ops: `link set eth0 mtu 1400
addr replace 192.168.0.21/24 dev lo
addr replace 10.5.0.102/24 dev eth0
route replace 10.99.0.0/16 via 10.5.0.1 dev eth0 metric 1024`,
			state: `addr 10.5.0.102/24 dev eth0
addr 10.5.0.2/24 dev eth0
addr 127.0.0.1/8 dev lo
` + foreign + `addr 192.168.0.21/24 dev lo
addr ::1/128 dev lo
link eth0 up mtu 1400
link lo up mtu 1500
route 10.99.0.0/16 via 10.5.0.1 dev eth0 metric 1024
route default via 10.5.0.1 dev eth0 metric 1024`,
		},
		{
			// A restarted daemon knows the command line before the configuration: nothing leaves, nothing is replaced.
			name: "before the configuration is known",
			want: with(lo, plan.Desired{
				Links:  []plan.Link{{Name: "eth0", Up: true}},
				Routes: []plan.Route{route("eth0", "0.0.0.0/0", "10.5.0.77", 1024)},
			}),
			state: `addr 10.5.0.102/24 dev eth0
addr 10.5.0.2/24 dev eth0
addr 127.0.0.1/8 dev lo
` + foreign + `addr 192.168.0.21/24 dev lo
addr ::1/128 dev lo
link eth0 up mtu 1400
link lo up mtu 1500
route 10.99.0.0/16 via 10.5.0.1 dev eth0 metric 1024
route default via 10.5.0.1 dev eth0 metric 1024`,
		},
		{
			// The primary address goes and takes the kept secondary with it; the second round puts it back.
			name: "another configuration, for a link that is not there",
			want: moved,
			ops: `route replace default via 10.5.0.254 dev eth0 metric 1024
route del 10.99.0.0/16 via 10.5.0.1 dev eth0 metric 1024
addr del 10.5.0.2/24 dev eth0
addr del 192.168.0.21/24 dev lo
link set eth0 mtu 1500
addr replace 10.5.0.102/24 dev eth0`,
			waiting: "link eth1 is not there yet",
			state: `addr 10.5.0.102/24 dev eth0
addr 127.0.0.1/8 dev lo
` + foreign + `addr ::1/128 dev lo
link eth0 up mtu 1500
link lo up mtu 1500
route default via 10.5.0.254 dev eth0 metric 1024`,
		},
		{
			name:   "the link appears",
			before: func() { k.links["eth1"] = plan.Link{Name: "eth1", MTU: 9000} },
			want:   moved,
			ops: `link set eth1 up
addr replace 10.6.0.1/24 dev eth1`,
			state: `addr 10.5.0.102/24 dev eth0
addr 10.6.0.1/24 dev eth1
addr 127.0.0.1/8 dev lo
` + foreign + `addr ::1/128 dev lo
link eth0 up mtu 1500
link eth1 up mtu 9000
link lo up mtu 1500
route default via 10.5.0.254 dev eth0 metric 1024`,
		},
		{
			name: "another hand removes an address",
			before: func() {
				k.delAddress(address("eth1", "10.6.0.1/24"))
			},
			want: moved,
			ops:  `addr replace 10.6.0.1/24 dev eth1`,
			state: `addr 10.5.0.102/24 dev eth0
addr 10.6.0.1/24 dev eth1
addr 127.0.0.1/8 dev lo
` + foreign + `addr ::1/128 dev lo
link eth0 up mtu 1500
link eth1 up mtu 9000
link lo up mtu 1500
route default via 10.5.0.254 dev eth0 metric 1024`,
		},
		{
			name: "nothing is wanted any more",
			want: plan.Desired{Complete: true},
			ops: `route del default via 10.5.0.254 dev eth0 metric 1024
addr del 10.5.0.102/24 dev eth0
addr del 10.6.0.1/24 dev eth1
addr del 127.0.0.1/8 dev lo
addr del ::1/128 dev lo`,
			state: foreign + `link eth0 up mtu 1500
link eth1 up mtu 9000
link lo up mtu 1500`,
		},
	} {
		if c.before != nil {
			c.before()
		}

		ops, waiting, errs := settle(k, c.want, &owned)
		if len(errs) > 0 {
			t.Fatalf("%s: %v", c.name, errs)
		}

		equal(t, c.name+": operations", strings.Join(ops, "\n"), c.ops)
		equal(t, c.name+": waiting", strings.Join(waiting, "\n"), c.waiting)
		equal(t, c.name+": state", k.String(), c.state)

		if again, _, _ := settle(k, c.want, &owned); len(again) > 0 {
			t.Fatalf("%s: applied twice, did again:\n%s", c.name, strings.Join(again, "\n"))
		}
	}
}

func TestConflictsAreReported(t *testing.T) {
	k := newKernel("eth0")

	var owned plan.Owned

	ops, waiting, _ := settle(k, plan.Desired{
		Links: []plan.Link{{Name: "eth0", Up: true}},
		Routes: []plan.Route{
			route("eth0", "0.0.0.0/0", "10.0.0.2", 1024),
			route("eth0", "0.0.0.0/0", "10.0.0.1", 1024),
			route("", "10.9.0.0/16", "10.8.0.1", 1024),
		},
		Complete: true,
	}, &owned)

	equal(t, "operations", strings.Join(ops, "\n"), `link set eth0 up
route replace default via 10.0.0.1 dev eth0 metric 1024`)
	equal(t, "waiting", strings.Join(waiting, "\n"),
		`route default via 10.0.0.2 dev eth0 metric 1024: its destination and metric are taken by route default via 10.0.0.1 dev eth0 metric 1024
route 10.9.0.0/16 via 10.8.0.1 metric 1024: no link has an address in the gateway's subnet`)
}

func TestAttributesAreChangedInPlace(t *testing.T) {
	k := newKernel("eth0")

	var owned plan.Owned

	want := plan.Desired{
		Links:    []plan.Link{{Name: "eth0", Up: true}},
		Routes:   []plan.Route{route("eth0", "2001:db8:1::/48", "fe80::1", 0)},
		Complete: true,
	}
	settle(k, want, &owned)

	want.Routes[0].MTU = 1300

	ops, _, _ := settle(k, want, &owned)
	equal(t, "operations", strings.Join(ops, "\n"), "route replace 2001:db8:1::/48 via fe80::1 dev eth0 metric 1024 mtu 1300")
}

func equal(t *testing.T, what, got, want string) {
	t.Helper()

	if got != want {
		t.Fatalf("%s\n--- got\n%s\n--- want\n%s", what, got, want)
	}
}
