package plan_test

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/dactyl-os/dactyl/services/networkd/internal/plan"
)

// FuzzPlan reads its bytes as a story: links, foreign state, then several desired states one after another. Whatever it
// is, the plan settles, is empty when asked again, never removes what it does not own, and removes nothing while the
// configuration is not complete.
func FuzzPlan(f *testing.F) {
	f.Add([]byte{})
	f.Add([]byte("\x01\x02\x03\x04\x05\x06\x07\x08\x09\x0a\x0b\x0c\x0d\x0e\x0f"))
	f.Add([]byte("\xff\x00\x80\x10\x20\x30\x40\x50\x60\x70\x80\x90\xa0\xb0\xc0\xd0\xe0\xf0"))
	f.Add([]byte(strings.Repeat("\x11\x92\x53\xd4", 30)))

	f.Fuzz(func(t *testing.T, data []byte) {
		story := &story{data: data}
		k := newKernel("lo", "eth0", "eth1")

		foreign := story.desired()
		for _, a := range foreign.Addresses {
			if _, ok := k.links[a.Link]; ok {
				k.addAddress(a)
			}
		}

		var owned plan.Owned

		for range 4 {
			want := story.desired()
			// Everything wanted is up, so that no operation fails.
			for _, name := range []string{"lo", "eth0", "eth1"} {
				want.Links = append(want.Links, plan.Link{Name: name, Up: true})
			}

			checkStep(t, k, want, &owned)
		}
	})
}

func checkStep(t *testing.T, k *kernel, want plan.Desired, owned *plan.Owned) {
	before, mine := k.observed(), slices.Concat(owned.Addresses, owned.Routes)

	first := plan.New(want, before, *owned)
	if again := plan.New(want, before, *owned); again.String() != first.String() {
		t.Fatalf("the same inputs gave\n%s\nand\n%s", first, again)
	}

	for _, op := range first.Ops {
		key, removes := removed(op)
		if !removes {
			continue
		}

		if !slices.Contains(mine, key) {
			t.Fatalf("%s: not ours", op)
		}

		if !want.Complete {
			t.Fatalf("%s: before the configuration is complete", op)
		}
	}

	_, _, errs := settle(k, want, owned)
	if len(errs) > 0 {
		t.Fatal(errs)
	}

	if p := plan.New(want, k.observed(), *owned); len(p.Ops) > 0 {
		t.Fatalf("not settled:\n%s\nstate:\n%s", p, k)
	}

	for _, a := range want.Addresses {
		if _, ok := k.links[a.Link]; ok && !slices.ContainsFunc(k.addresses, func(o plan.Address) bool { return o.Key() == a.Key() }) {
			t.Fatalf("%s is missing:\n%s", a.Key(), k)
		}
	}
}

func removed(op plan.Op) (string, bool) {
	switch op := op.(type) {
	case plan.AddrDel:
		return op.Key(), true
	case plan.RouteDel:
		return op.Key(), true
	default:
		return "", false
	}
}

// story turns bytes into choices from a small world, so that things collide.
type story struct{ data []byte }

func (s *story) pick(n int) int {
	if len(s.data) == 0 {
		return 0
	}

	b := s.data[0]
	s.data = s.data[1:]

	return int(b) % n
}

func (s *story) link() string { return []string{"eth0", "eth1", "lo", "gone"}[s.pick(4)] }

func (s *story) prefix() netip.Prefix {
	if s.pick(3) == 0 {
		return netip.MustParsePrefix(fmt.Sprintf("fd00:%d::%d/64", s.pick(2), s.pick(3)+1))
	}

	return netip.MustParsePrefix(fmt.Sprintf("10.%d.0.%d/%d", s.pick(2), s.pick(3)+1, []int{24, 32}[s.pick(2)]))
}

func (s *story) desired() plan.Desired {
	d := plan.Desired{Complete: s.pick(3) > 0}

	for range s.pick(3) {
		d.Links = append(d.Links, plan.Link{Name: s.link(), Up: true, MTU: []uint32{0, 1400, 9000}[s.pick(3)]})
	}

	for range s.pick(5) {
		d.Addresses = append(d.Addresses, plan.Address{Link: s.link(), Prefix: s.prefix()})
	}

	for range s.pick(5) {
		r := plan.Route{Link: s.link(), Dst: s.prefix().Masked(), Metric: []uint32{0, 1024}[s.pick(2)]}
		if s.pick(2) == 0 {
			r.Gateway = r.Dst.Addr().Next()
			r.Dst = netip.PrefixFrom(r.Dst.Addr(), 0).Masked()
		}

		r.MTU = []uint32{0, 1300}[s.pick(2)]
		d.Routes = append(d.Routes, r)
	}

	return d
}
