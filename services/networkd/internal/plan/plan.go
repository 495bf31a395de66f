// Package plan decides which operations lead from what the kernel has to what is wanted. It touches nothing: the same
// inputs always give the same operations, and a plan made after they were carried out is empty.
package plan

import (
	"maps"
	"slices"
	"strings"
)

// Desired is what the merged specs ask for.
type Desired struct {
	Links     []Link
	Addresses []Address
	Routes    []Route
	// Complete says that every source of configuration was heard. Until then nothing is removed: what looks unwanted may
	// only be not known yet.
	Complete bool
	// Ended is what no source can ask for any more, such as the address of a lease that is over: it goes even before the
	// sources are complete.
	Ended Owned
}

// Keys names the addresses and routes that are asked for.
func (d Desired) Keys() Owned {
	var o Owned

	for _, a := range d.Addresses {
		o.Addresses = append(o.Addresses, a.Key())
	}

	for _, r := range normalized(d.Routes, d.Addresses) {
		o.Routes = append(o.Routes, r.Key())
	}

	return o
}

// Observed is what the kernel has now. Up is the administrative state.
type Observed struct {
	Links     []Link
	Addresses []Address
	Routes    []Route
}

// Owned is what networkd is responsible for: what it put there or adopted, and so may remove. It outlives the daemon.
type Owned struct {
	Addresses []string `json:"addresses,omitempty"`
	Routes    []string `json:"routes,omitempty"`
	// MTU keeps each changed link's own MTU, to give it back.
	MTU map[string]uint32 `json:"mtu,omitempty"`
}

// Plan is the way from observed to desired.
type Plan struct {
	Ops []Op
	// Owned is what networkd answers for once the operations were carried out. Written down before they are, so that a
	// crash in between leaves nothing without an owner.
	Owned Owned
	// Waiting says, one sentence each, what cannot be done yet.
	Waiting []string
}

// New compares. Order of the operations: links up, addresses and routes in, then routes and addresses out, so that a
// changed address or gateway leaves no gap.
func New(want Desired, have Observed, owned Owned) Plan {
	b := &builder{
		present: map[string]Link{},
		waiting: map[string]int{},
	}

	for _, l := range have.Links {
		b.present[l.Name] = l
	}

	b.links(want, owned)
	b.addresses(want, have, owned)
	b.routes(want, have, owned)

	return Plan{
		Ops:     slices.Concat(b.linkOps, b.addrAdds, b.routeSets, b.routeDels, b.addrDels, b.linkRestores),
		Owned:   b.owned,
		Waiting: b.sentences(),
	}
}

type builder struct {
	present map[string]Link

	linkOps, addrAdds, routeSets, routeDels, addrDels, linkRestores []Op

	owned    Owned
	waiting  map[string]int
	problems []string
}

// missing reports whether a link is not there and counts what waits for it.
func (b *builder) missing(link string) bool {
	if _, ok := b.present[link]; ok {
		return false
	}

	b.waiting[link]++

	return true
}

func (b *builder) links(want Desired, owned Owned) {
	b.owned.MTU = map[string]uint32{}

	wanted := map[string]bool{}

	for _, l := range slices.SortedFunc(slices.Values(want.Links), compareLinks) {
		if wanted[l.Name] || b.missing(l.Name) {
			continue
		}

		wanted[l.Name] = true
		have := b.present[l.Name]
		op := LinkSet{Name: l.Name, Up: l.Up && !have.Up}

		original, changed := owned.MTU[l.Name]

		switch {
		case l.MTU != 0:
			if !changed {
				original = have.MTU
			}

			if changed || have.MTU != l.MTU {
				b.owned.MTU[l.Name] = original
			}

			if have.MTU != l.MTU {
				op.MTU = l.MTU
			}
		case changed:
			b.restoreMTU(l.Name, original, want.Complete)
		}

		if op.Up || op.MTU != 0 {
			b.linkOps = append(b.linkOps, op)
		}
	}

	for _, name := range slices.Sorted(maps.Keys(owned.MTU)) {
		if !wanted[name] {
			b.restoreMTU(name, owned.MTU[name], want.Complete)
		}
	}
}

func (b *builder) restoreMTU(name string, original uint32, complete bool) {
	have, ok := b.present[name]

	switch {
	case !ok:
	case !complete:
		b.owned.MTU[name] = original
	case have.MTU != original:
		b.linkRestores = append(b.linkRestores, LinkSet{Name: name, MTU: original})
	}
}

func (b *builder) addresses(want Desired, have Observed, owned Owned) {
	there := map[string]Address{}
	for _, a := range have.Addresses {
		there[a.Key()] = a
	}

	wanted := map[string]bool{}

	for _, a := range slices.SortedFunc(slices.Values(want.Addresses), compareAddresses) {
		key := a.Key()
		if wanted[key] || b.missing(a.Link) {
			continue
		}

		wanted[key] = true
		b.owned.Addresses = append(b.owned.Addresses, key)

		if old, ok := there[key]; !ok || old.Temporary {
			b.addrAdds = append(b.addrAdds, AddrAdd{a})
		}
	}

	for _, key := range sorted(owned.Addresses) {
		a, ok := there[key]

		switch {
		case wanted[key] || !ok:
		case want.Complete || slices.Contains(want.Ended.Addresses, key):
			b.addrDels = append(b.addrDels, AddrDel{a})
		default:
			b.owned.Addresses = append(b.owned.Addresses, key)
		}
	}
}

func (b *builder) sentences() []string {
	lines := slices.Clone(b.problems)

	for _, link := range slices.Sorted(maps.Keys(b.waiting)) {
		lines = append(lines, "link "+link+" is not there yet")
	}

	return lines
}

// String lists the operations, one a line, as a shell session would.
func (p Plan) String() string {
	var s strings.Builder

	for _, op := range p.Ops {
		s.WriteString(op.String())
		s.WriteByte('\n')
	}

	return s.String()
}

func sorted(keys []string) []string { return slices.Compact(slices.Sorted(slices.Values(keys))) }

// Union is what either answers for: while operations are under way, what is being removed is still owned.
func Union(a, b Owned) Owned {
	mtu := maps.Clone(b.MTU)
	if mtu == nil {
		mtu = map[string]uint32{}
	}

	maps.Copy(mtu, a.MTU)

	return Owned{
		Addresses: sorted(slices.Concat(a.Addresses, b.Addresses)),
		Routes:    sorted(slices.Concat(a.Routes, b.Routes)),
		MTU:       mtu,
	}
}
