package plan

import "slices"

func (b *builder) routes(want Desired, have Observed, owned Owned) {
	inSlot := map[slot][]Route{}
	for _, r := range have.Routes {
		inSlot[r.slot()] = append(inSlot[r.slot()], r)
	}

	wanted, taken := map[string]bool{}, map[slot]Route{}

	for _, r := range slices.SortedFunc(slices.Values(normalized(want.Routes, want.Addresses)), compareRoutes) {
		key, slot := r.Key(), r.slot()
		if wanted[key] || !b.fits(r, taken) {
			continue
		}

		wanted[key], taken[slot] = true, r
		b.owned.Routes = append(b.owned.Routes, key)

		// Before the configuration is known, a route in that place may be the one it will ask for.
		if !slices.Contains(inSlot[slot], r) && (want.Complete || len(inSlot[slot]) == 0) {
			b.routeSets = append(b.routeSets, RouteReplace{r})
		}
	}

	b.dropRoutes(want, have, owned, wanted, taken)
}

// fits reports whether a route can be in the kernel beside those that have taken their slots, and notes why not.
func (b *builder) fits(r Route, taken map[slot]Route) bool {
	first, occupied := taken[r.slot()]

	switch {
	case r.Link == "":
		b.problems = append(b.problems, "route "+r.String()+": no link has an address in the gateway's subnet")
	case b.missing(r.Link):
	case occupied:
		b.problems = append(b.problems,
			"route "+r.String()+": its destination and metric are taken by route "+first.String())
	default:
		return true
	}

	return false
}

// dropRoutes takes out what is owned and not wanted any more.
func (b *builder) dropRoutes(want Desired, have Observed, owned Owned, wanted map[string]bool, taken map[slot]Route) {
	there := map[string]Route{}

	for _, r := range have.Routes {
		// What the kernel makes for each address is never ours.
		if r.Protocol != ProtocolKernel {
			there[r.Key()] = r
		}
	}

	for _, key := range sorted(owned.Routes) {
		r, ok := there[key]

		switch {
		case wanted[key] || !ok:
		case !want.Complete && !slices.Contains(want.Ended.Routes, key):
			b.owned.Routes = append(b.owned.Routes, key)
		case replacedInPlace(r, taken):
		default:
			b.routeDels = append(b.routeDels, RouteDel{r})
		}
	}
}

// replacedInPlace: the new route of that slot takes the old one's place by itself.
func replacedInPlace(r Route, taken map[slot]Route) bool {
	_, ok := taken[r.slot()]

	return ok
}
