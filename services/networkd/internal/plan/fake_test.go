package plan_test

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"

	"github.com/dactyl-os/dactyl/services/networkd/internal/plan"
)

// kernel is a fake of the kernel's network state that keeps its side effects: connected routes come and go with
// addresses, a primary address takes its secondaries with it, a second route of one destination and metric replaces the
// first.
type kernel struct {
	links     map[string]plan.Link
	addresses []plan.Address // oldest first: the first of a subnet is its primary
	routes    []plan.Route
}

func newKernel(links ...string) *kernel {
	k := &kernel{links: map[string]plan.Link{}}
	for _, name := range links {
		k.links[name] = plan.Link{Name: name, MTU: 1500}
	}

	return k
}

func (k *kernel) observed() plan.Observed {
	return plan.Observed{
		Links:     slices.Collect(maps.Values(k.links)),
		Addresses: slices.Clone(k.addresses),
		Routes:    slices.Clone(k.routes),
	}
}

func (k *kernel) apply(op plan.Op) error {
	switch op := op.(type) {
	case plan.LinkSet:
		l := k.links[op.Name]
		l.Up = l.Up || op.Up

		if op.MTU != 0 {
			l.MTU = op.MTU
		}

		k.links[op.Name] = l
	case plan.AddrAdd:
		k.addAddress(op.Address)
	case plan.AddrDel:
		k.delAddress(op.Address)
	case plan.RouteReplace:
		return k.setRoute(op.Route)
	case plan.RouteDel:
		k.routes = slices.DeleteFunc(k.routes, func(r plan.Route) bool { return r == op.Route })
	}

	return nil
}

func (k *kernel) addAddress(a plan.Address) {
	k.addresses = slices.DeleteFunc(k.addresses, func(o plan.Address) bool { return o.Key() == a.Key() })
	k.addresses = append(k.addresses, a)

	if c := connected(a); !slices.Contains(k.routes, c) && a.Prefix.Bits() < a.Prefix.Addr().BitLen() {
		k.routes = append(k.routes, c)
	}
}

func (k *kernel) delAddress(a plan.Address) {
	sameSubnet := func(o plan.Address) bool {
		return o.Link == a.Link && o.Prefix.Masked() == a.Prefix.Masked()
	}

	primary := slices.IndexFunc(k.addresses, sameSubnet)
	takesAll := a.Prefix.Addr().Is4() && primary >= 0 && k.addresses[primary].Key() == a.Key()

	k.addresses = slices.DeleteFunc(k.addresses, func(o plan.Address) bool {
		return o.Key() == a.Key() || takesAll && sameSubnet(o)
	})

	if !slices.ContainsFunc(k.addresses, sameSubnet) {
		k.routes = slices.DeleteFunc(k.routes, func(r plan.Route) bool { return r == connected(a) })
	}
}

func connected(a plan.Address) plan.Route {
	r := plan.Route{Table: plan.TableMain, Dst: a.Prefix.Masked(), Link: a.Link, Type: plan.TypeUnicast, Protocol: 2}
	if a.Prefix.Addr().Is6() {
		r.Metric = 256
	} else {
		r.Scope = plan.ScopeLink
	}

	return r
}

func (k *kernel) setRoute(r plan.Route) error {
	if !k.links[r.Link].Up {
		return fmt.Errorf("%s: network is down", r)
	}

	at := slices.IndexFunc(k.routes, func(o plan.Route) bool {
		return o.Table == r.Table && o.Dst == r.Dst && o.Metric == r.Metric &&
			(r.Dst.Addr().Is4() || r.Gateway.IsValid() || o.Link == r.Link)
	})
	if at >= 0 {
		k.routes[at] = r
	} else {
		k.routes = append(k.routes, r)
	}

	return nil
}

// String is the whole state as sorted text.
func (k *kernel) String() string {
	var lines []string

	for _, l := range k.links {
		state := "down"
		if l.Up {
			state = "up"
		}

		lines = append(lines, fmt.Sprintf("link %s %s mtu %d", l.Name, state, l.MTU))
	}

	for _, a := range k.addresses {
		lines = append(lines, fmt.Sprintf("addr %s dev %s", a.Prefix, a.Link))
	}

	for _, r := range k.routes {
		// Connected routes follow from the addresses.
		if r.Protocol != 2 {
			lines = append(lines, "route "+r.String())
		}
	}

	slices.Sort(lines)

	return strings.Join(lines, "\n")
}

// settle plans and applies until nothing is left to do, as the daemon does, and gives the operations and sentences.
func settle(k *kernel, want plan.Desired, owned *plan.Owned) (ops, waiting []string, errs []error) {
	for range 3 {
		p := plan.New(want, k.observed(), *owned)
		*owned, waiting = p.Owned, p.Waiting

		if len(p.Ops) == 0 {
			return ops, waiting, errs
		}

		for _, op := range p.Ops {
			ops = append(ops, op.String())

			if err := k.apply(op); err != nil {
				errs = append(errs, err)
			}
		}
	}

	return ops, waiting, errs
}

func address(link, prefix string) plan.Address {
	return plan.Address{Link: link, Prefix: netip.MustParsePrefix(prefix)}
}

func route(link, dst, gateway string, metric uint32) plan.Route {
	r := plan.Route{Link: link, Dst: netip.MustParsePrefix(dst), Metric: metric}
	if gateway != "" {
		r.Gateway = netip.MustParseAddr(gateway)
	}

	return r
}
