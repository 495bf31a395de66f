package spec

import (
	"cmp"
	"maps"
	"net/netip"
	"slices"

	"github.com/dactyl-os/dactyl/proto/resource/enums"
)

// Merge combines the sources: of each link, address and route the highest layer's wish counts, of hostname, resolvers
// and time servers the highest layer that has one. Links that any source says to ignore are left out of all layers.
// The result is sorted.
func Merge(sets ...Set) Set {
	var out Set

	for _, s := range sets {
		out.Ignored = append(out.Ignored, s.Ignored...)
		out.Warnings = append(out.Warnings, s.Warnings...)
		out.Hosts = append(out.Hosts, s.Hosts...)
		out.NoSearchDomain = out.NoSearchDomain || s.NoSearchDomain

		if s.Hostname.Hostname != "" && (out.Hostname.Hostname == "" || s.Hostname.Layer >= out.Hostname.Layer) {
			out.Hostname = s.Hostname
		}

		if len(s.Resolvers.Servers) > 0 && (len(out.Resolvers.Servers) == 0 || s.Resolvers.Layer >= out.Resolvers.Layer) {
			out.Resolvers = s.Resolvers
		}

		if len(s.TimeServers.Servers) > 0 && (len(out.TimeServers.Servers) == 0 || s.TimeServers.Layer >= out.TimeServers.Layer) {
			out.TimeServers = s.TimeServers
		}
	}

	slices.Sort(out.Ignored)
	out.Ignored = slices.Compact(out.Ignored)

	out.Links = mergeLinks(sets, out.Ignored)
	out.Addresses = mergeAddresses(sets, out.Ignored)
	out.Routes = mergeRoutes(sets, out.Ignored)
	out.DHCP = mergeDHCP(sets, out.Ignored)
	out.leaveOut()

	return out
}

// mergeLinks lets a higher layer say up or down, and change the MTU when it names one.
func mergeLinks(sets []Set, ignored []string) []Link {
	byName := map[string]Link{}

	for _, l := range byLayer(sets, func(s Set) []Link { return s.Links }, func(l Link) Layer { return l.Layer }) {
		if slices.Contains(ignored, l.Name) {
			continue
		}

		l.MTU = cmp.Or(l.MTU, byName[l.Name].MTU)
		byName[l.Name] = l
	}

	return values(byName)
}

func mergeAddresses(sets []Set, ignored []string) []Address {
	byID := map[string]Address{}

	for _, a := range byLayer(sets, func(s Set) []Address { return s.Addresses }, func(a Address) Layer { return a.Layer }) {
		if !slices.Contains(ignored, a.Link) {
			byID[a.ID()] = a
		}
	}

	return values(byID)
}

// mergeRoutes: the kernel keeps one route for a destination and priority, so a higher layer's route also displaces a
// lower layer's route with another gateway.
func mergeRoutes(sets []Set, ignored []string) []Route {
	byID := map[string]Route{}
	layers := map[string]Layer{}

	for _, r := range byLayer(sets, func(s Set) []Route { return s.Routes }, func(r Route) Layer { return r.Layer }) {
		if slices.Contains(ignored, r.Link) {
			continue
		}

		byID[r.ID()] = r
		layers[r.place()] = r.Layer
	}

	maps.DeleteFunc(byID, func(_ string, r Route) bool { return r.Layer < layers[r.place()] })

	return values(byID)
}

// place is the route's place in the kernel's table. IPv6 routes without a gateway have one on each link.
func (r Route) place() string {
	link := r.Link
	if r.Gateway.IsValid() {
		link = ""
	}

	return RouteID(enums.RoutingTableMain, r.Is6(), r.Dst, netip.Addr{}, r.Priority, link)
}

// byLayer gives all specs of one kind, lowest layer first, in their order within a layer.
func byLayer[T any](sets []Set, specs func(Set) []T, layer func(T) Layer) []T {
	var all []T
	for _, s := range sets {
		all = append(all, specs(s)...)
	}

	slices.SortStableFunc(all, func(a, b T) int { return cmp.Compare(layer(a), layer(b)) })

	return all
}

// values gives what a map holds in the order of its keys.
func values[T any](m map[string]T) []T {
	all := make([]T, 0, len(m))
	for _, key := range slices.Sorted(maps.Keys(m)) {
		all = append(all, m[key])
	}

	return all
}
