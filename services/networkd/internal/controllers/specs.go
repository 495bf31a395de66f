package controllers

import (
	"context"

	"github.com/cosi-project/runtime/pkg/resource"

	"github.com/dactyl-os/dactyl/proto/resource/enums"
	"github.com/dactyl-os/dactyl/proto/resource/network"
	"github.com/dactyl-os/dactyl/services/kit/reconcile"

	"github.com/dactyl-os/dactyl/services/networkd/internal/plan"
	"github.com/dactyl-os/dactyl/services/networkd/internal/spec"
)

// specResources are the spec resources of one namespace by ID.
type specResources struct {
	links       map[resource.ID]network.LinkSpecSpec
	addresses   map[resource.ID]network.AddressSpecSpec
	routes      map[resource.ID]network.RouteSpecSpec
	operators   map[resource.ID]network.OperatorSpecSpec
	hostnames   map[resource.ID]network.HostnameSpecSpec
	resolvers   map[resource.ID]network.ResolverSpecSpec
	timeServers map[resource.ID]network.TimeServerSpecSpec
}

// asResources names each spec: layered in network-config, plain where they are merged.
func asResources(sets []spec.Set, layered bool) specResources {
	r := specResources{
		links:       map[resource.ID]network.LinkSpecSpec{},
		addresses:   map[resource.ID]network.AddressSpecSpec{},
		routes:      map[resource.ID]network.RouteSpecSpec{},
		operators:   map[resource.ID]network.OperatorSpecSpec{},
		hostnames:   map[resource.ID]network.HostnameSpecSpec{},
		resolvers:   map[resource.ID]network.ResolverSpecSpec{},
		timeServers: map[resource.ID]network.TimeServerSpecSpec{},
	}

	for _, s := range sets {
		r.add(s, func(layer spec.Layer, id resource.ID) resource.ID {
			if layered {
				return network.LayeredID(layer, id)
			}

			return id
		})
	}

	return r
}

func (r specResources) add(s spec.Set, id func(spec.Layer, resource.ID) resource.ID) {
	for _, l := range s.Links {
		r.links[id(l.Layer, network.LinkID(l.Name))] = network.LinkSpecSpec{
			Name: l.Name, Up: l.Up, MTU: l.MTU, ConfigLayer: l.Layer,
		}
	}

	for _, a := range s.Addresses {
		r.addresses[id(a.Layer, a.ID())] = network.AddressSpecSpec{
			Address: a.Prefix, LinkName: a.Link, Family: familyOf(a.Prefix.Addr().Is6()),
			Scope: enums.Scope(addressScope(a)), Flags: enums.AddressFlags(enums.AddressFlagPermanent), ConfigLayer: a.Layer,
		}
	}

	for _, rt := range s.Routes {
		scope := enums.ScopeGlobal
		if !rt.Gateway.IsValid() && !rt.Is6() {
			scope = enums.ScopeLink
		}

		r.routes[id(rt.Layer, rt.ID())] = network.RouteSpecSpec{
			Family: familyOf(rt.Is6()), Destination: rt.Dst, Source: rt.Source, Gateway: rt.Gateway, OutLinkName: rt.Link,
			Table: enums.RoutingTableMain, Priority: rt.Priority, Scope: scope, Type: enums.RouteTypeUnicast,
			Protocol: enums.RouteProtocolStatic, ConfigLayer: rt.Layer, MTU: rt.MTU,
		}
	}

	for _, o := range s.DHCP {
		r.operators[id(o.Layer, "dhcp4/"+o.Link)] = network.OperatorSpecSpec{
			Operator: enums.OperatorDHCP4, LinkName: o.Link, RequireUp: true,
			DHCP4: network.DHCP4OperatorSpec{RouteMetric: o.Metric}, ConfigLayer: o.Layer,
		}
	}

	if h := s.Hostname; h.Hostname != "" {
		r.hostnames[id(h.Layer, network.HostnameID)] = network.HostnameSpecSpec{
			Hostname: h.Hostname, Domainname: h.Domainname, ConfigLayer: h.Layer,
		}
	}

	if v := s.Resolvers; len(v.Servers) > 0 {
		r.resolvers[id(v.Layer, network.ResolverID)] = network.ResolverSpecSpec{DNSServers: v.Servers, ConfigLayer: v.Layer}
	}

	if v := s.TimeServers; len(v.Servers) > 0 {
		r.timeServers[id(v.Layer, network.TimeServerID)] = network.TimeServerSpecSpec{NtpServers: v.Servers, ConfigLayer: v.Layer}
	}
}

func (r specResources) publish(ctx context.Context, p reconcile.Publisher, ns resource.Namespace) error {
	for _, write := range []func() error{
		func() error { return reconcile.Publish(ctx, p, network.NewLinkSpec, ns, r.links) },
		func() error { return reconcile.Publish(ctx, p, network.NewAddressSpec, ns, r.addresses) },
		func() error { return reconcile.Publish(ctx, p, network.NewRouteSpec, ns, r.routes) },
		func() error { return reconcile.Publish(ctx, p, network.NewOperatorSpec, ns, r.operators) },
		func() error { return reconcile.Publish(ctx, p, network.NewHostnameSpec, ns, r.hostnames) },
		func() error { return reconcile.Publish(ctx, p, network.NewResolverSpec, ns, r.resolvers) },
		func() error { return reconcile.Publish(ctx, p, network.NewTimeServerSpec, ns, r.timeServers) },
	} {
		if err := write(); err != nil {
			return err
		}
	}

	return nil
}

func familyOf(is6 bool) enums.Family {
	if is6 {
		return enums.FamilyInet6
	}

	return enums.FamilyInet4
}

func addressScope(a spec.Address) uint8 {
	switch addr := a.Prefix.Addr(); {
	case addr.IsLoopback():
		return plan.ScopeHost
	case addr.IsLinkLocalUnicast():
		return plan.ScopeLink
	default:
		return plan.ScopeUniverse
	}
}

// desired is the merged set in the plan's terms; ended are sets that were in force.
func desired(merged spec.Set, complete bool, ended ...spec.Set) plan.Desired {
	d := plan.Desired{Complete: complete}

	for _, s := range ended {
		was := desired(s, false)
		d.Ended = plan.Union(d.Ended, was.Keys())
	}

	for _, l := range merged.Links {
		d.Links = append(d.Links, plan.Link{Name: l.Name, Up: l.Up, MTU: l.MTU})
	}

	for _, a := range merged.Addresses {
		d.Addresses = append(d.Addresses, plan.Address{Link: a.Link, Prefix: a.Prefix, Scope: addressScope(a)})
	}

	for _, r := range merged.Routes {
		d.Routes = append(d.Routes, plan.Route{
			Dst: r.Destination(), Gateway: r.Gateway, Src: r.Source, Link: r.Link, Metric: r.Priority, MTU: r.MTU,
		})
	}

	return d
}
