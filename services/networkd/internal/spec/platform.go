package spec

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"

	"go.yaml.in/yaml/v4"

	"github.com/dactyl-os/dactyl/proto/resource/enums"
	"github.com/dactyl-os/dactyl/proto/resource/network"
)

// MetaKey is the META key of a metal machine's network configuration.
const MetaKey = "0x0a"

// platformNetwork is that configuration: the specs of the resources of the same names.
type platformNetwork struct {
	Addresses   []network.AddressSpecSpec    `yaml:"addresses"`
	Links       []network.LinkSpecSpec       `yaml:"links"`
	Routes      []network.RouteSpecSpec      `yaml:"routes"`
	Hostnames   []network.HostnameSpecSpec   `yaml:"hostnames"`
	Resolvers   []network.ResolverSpecSpec   `yaml:"resolvers"`
	TimeServers []network.TimeServerSpecSpec `yaml:"timeServers"`
}

// FromMeta reads the network configuration of META, YAML or JSON. Everything is of the platform layer, whatever it says. An
// error names the line; what is right but not acted on yet is in the set's Warnings.
func FromMeta(data []byte) (Set, error) {
	var doc platformNetwork

	decoder := yaml.NewDecoder(bytes.NewReader(data))
	decoder.KnownFields(true)

	err := decoder.Decode(&doc)
	if err == nil {
		if err = decoder.Decode(&yaml.Node{}); err == nil {
			err = errors.New("a second document: one is needed")
		}
	}

	if !errors.Is(err, io.EOF) {
		// What the library says of several lines is told as one.
		return Set{}, fmt.Errorf("META %s: %s", MetaKey, strings.ReplaceAll(err.Error(), "\n  ", " "))
	}

	r := platformReader{}

	for i, l := range doc.Links {
		r.link(i, l)
	}

	for i, a := range doc.Addresses {
		r.address(i, a)
	}

	for i, route := range doc.Routes {
		r.route(i, route)
	}

	r.names(doc)

	if err := errors.Join(r.problems...); err != nil {
		return Set{}, err
	}

	return r.Set, nil
}

type platformReader struct {
	Set

	problems []error
}

func (r *platformReader) refuse(format string, args ...any) {
	r.problems = append(r.problems, fmt.Errorf("META "+MetaKey+": "+format, args...))
}

func (r *platformReader) warn(format string, args ...any) {
	r.Warnings = append(r.Warnings, fmt.Sprintf("META "+MetaKey+": "+format, args...))
}

func (r *platformReader) link(i int, l network.LinkSpecSpec) {
	if l.Name == "" {
		r.refuse("links[%d]: name is missing", i)

		return
	}

	if l.Kind != "" {
		r.warn("links[%d] (%s): kind %s is not supported yet", i, l.Name, l.Kind)
	}

	if l.BondSlave.MasterName != "" || l.BridgeSlave.MasterName != "" {
		r.warn("links[%d] (%s): masterName is not supported yet", i, l.Name)
	}

	r.Links = append(r.Links, Link{Name: l.Name, Up: l.Up, MTU: l.MTU, Layer: Platform})
}

func (r *platformReader) address(i int, a network.AddressSpecSpec) {
	if a.LinkName == "" || !a.Address.IsValid() {
		r.refuse("addresses[%d]: address and linkName are needed", i)

		return
	}

	r.Addresses = append(r.Addresses, Address{Link: a.LinkName, Prefix: a.Address, Layer: Platform})
}

func (r *platformReader) route(i int, route network.RouteSpecSpec) {
	out := Route{
		Dst: route.Destination, Gateway: route.Gateway, Source: route.Source, Link: route.OutLinkName, Priority: route.Priority, MTU: route.MTU, Layer: Platform,
	}

	switch {
	case out.Link == "":
		r.refuse("routes[%d]: outLinkName is missing", i)

		return
	case !out.Dst.IsValid() && !out.Gateway.IsValid():
		r.refuse("routes[%d]: neither dst nor gateway is given", i)

		return
	case out.Dst.IsValid() && out.Gateway.IsValid() && out.Dst.Addr().Is6() != out.Gateway.Is6():
		r.refuse("routes[%d]: dst %s and gateway %s are of two families", i, out.Dst, out.Gateway)

		return
	case route.Table != 0 && route.Table != enums.RoutingTableMain:
		r.warn("routes[%d]: table %s is not supported yet", i, route.Table)

		return
	case route.Type != 0 && route.Type != enums.RouteTypeUnicast:
		r.warn("routes[%d]: type %s is not supported yet", i, route.Type)

		return
	}

	if out.Dst.IsValid() {
		out.Dst = out.Dst.Masked()
	}

	// The contract writes a default route without its destination.
	if out.Dst.Bits() == 0 && out.Gateway.IsValid() {
		out.Dst = Route{}.Dst
	}

	r.Routes = append(r.Routes, out)
}

// names: a machine has one name, one list of resolvers and one of time servers.
func (r *platformReader) names(doc platformNetwork) {
	for _, section := range []struct {
		name string
		n    int
	}{{"hostnames", len(doc.Hostnames)}, {"resolvers", len(doc.Resolvers)}, {"timeServers", len(doc.TimeServers)}} {
		if section.n > 1 {
			r.refuse("%s: one entry is needed, there are %d", section.name, section.n)
		}
	}

	if len(doc.Hostnames) > 0 {
		name, err := ParseHostname(doc.Hostnames[0].Hostname, doc.Hostnames[0].Domainname, Platform)
		if err != nil {
			r.warn("hostnames[0]: %v", err)
		}

		r.Hostname = name
	}

	if len(doc.Resolvers) > 0 {
		r.Resolvers = Resolvers{Servers: doc.Resolvers[0].DNSServers, Layer: Platform}
	}

	if len(doc.TimeServers) > 0 {
		r.TimeServers = TimeServers{Servers: doc.TimeServers[0].NtpServers, Layer: Platform}
	}
}
