package service

import (
	"cmp"
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/cosi-project/runtime/pkg/safe"

	"github.com/dactyl-os/dactyl/proto/config"
	"github.com/dactyl-os/dactyl/proto/resource/cluster"
	configres "github.com/dactyl-os/dactyl/proto/resource/config"
	"github.com/dactyl-os/dactyl/proto/resource/enums"
	"github.com/dactyl-os/dactyl/proto/resource/secrets"
	"github.com/dactyl-os/dactyl/services/kit/router"
	"github.com/dactyl-os/dactyl/services/trustd/internal/spec"
)

// maxNames bounds what one certificate may hold.
const maxNames = 256

// Host is a name or an address, and whose it is.
type Host struct{ Name, Whose string }

// Others are the hosts of others: with a certificate for one a worker could stand in for it.
type Others struct {
	// ControlPlane has the names and addresses of control planes and of the cluster's endpoint.
	ControlPlane []Host
	// Workers are addresses of members that do not have the caller's address.
	Workers map[netip.Addr]string
}

// CheckRequest is the rule for what a worker may ask for: it names the address that it comes from, and nothing of others. Names
// of other workers are not refused, as a new machine gets the name of the one that it replaces. Roles in the request are not
// refused, as some clients send them, but left out of the certificate. from is the zero address for a caller on this machine.
func CheckRequest(csr *x509.CertificateRequest, from netip.Addr, others Others) error {
	addresses := make([]netip.Addr, 0, len(csr.IPAddresses))

	for _, ip := range csr.IPAddresses {
		if addr, ok := netip.AddrFromSlice(ip); ok {
			addresses = append(addresses, addr.Unmap())
		}
	}

	names := slices.Clone(csr.DNSNames)
	if csr.Subject.CommonName != "" {
		names = append(names, csr.Subject.CommonName)
	}

	switch n := len(csr.IPAddresses) + len(csr.DNSNames); {
	case n == 0:
		return errors.New("the request names no address and no name: a server certificate needs one")
	case n > maxNames:
		return fmt.Errorf("the request has %d addresses and names, %d at most", n, maxNames)
	case from.IsValid() && !slices.Contains(addresses, from):
		return fmt.Errorf("the request does not name %s, the address that it comes from: a certificate is signed for the caller's own "+
			"addresses (hint: with address translation in between, add %s to machine.certSANs of the worker)", from, from)
	}

	return cmp.Or(checkNames(names), checkAddresses(addresses, others), checkControlPlane(names, csr.IPAddresses, others))
}

func checkAddresses(addresses []netip.Addr, others Others) error {
	for _, addr := range addresses {
		if addr.IsLoopback() || addr.IsUnspecified() || addr.IsMulticast() {
			return fmt.Errorf("the address %s is no machine's own: take it out of machine.certSANs", addr)
		}

		if member, taken := others.Workers[addr]; taken {
			return fmt.Errorf("the address %s belongs to the member %s: take it from one of the two, or wait until `get members` "+
				"does not show the member any more", addr, member)
		}
	}

	return nil
}

func checkNames(names []string) error {
	for _, name := range names {
		plain := strings.ToLower(strings.TrimSuffix(name, "."))

		switch {
		case plain == "localhost", strings.HasSuffix(plain, ".localhost"):
			return fmt.Errorf("the name %q is every machine's: take it out of machine.certSANs", name)
		case strings.Contains(name, "*"):
			return fmt.Errorf("the name %q is of many machines: name the worker's own in machine.certSANs", name)
		}
	}

	return nil
}

// checkControlPlane asks for each host as a client would.
func checkControlPlane(names []string, addresses []net.IP, others Others) error {
	cert := &x509.Certificate{IPAddresses: addresses}
	for _, name := range names {
		cert.DNSNames = append(cert.DNSNames, strings.TrimSuffix(name, "."))
	}

	for _, host := range others.ControlPlane {
		if cert.VerifyHostname(host.Name) == nil {
			return fmt.Errorf("%q belongs to %s: give the worker another name or address, or take it out of machine.certSANs", host.Name, host.Whose)
		}
	}

	return nil
}

// askLimit bounds a question to another daemon.
const askLimit = 2 * time.Second

// others gathers what is not the caller's. What another daemon knows has to be known: without it nothing is signed.
func (s *Security) others(ctx context.Context, from netip.Addr) (Others, error) {
	ctx, cancel := context.WithTimeout(ctx, askLimit)
	defer cancel()

	var out Others

	add := func(whose string, hosts ...string) {
		for _, host := range hosts {
			if host != "" {
				out.ControlPlane = append(out.ControlPlane, Host{host, whose})
			}
		}
	}

	own, err := safe.StateGetByID[*secrets.CertSAN](ctx, s.Local, secrets.CertSANAPIID)
	if err != nil {
		return out, fmt.Errorf("read this machine's names: %w", err)
	}

	add("this control plane", append(texts(own.TypedSpec().IPs), append(own.TypedSpec().DNSNames, own.TypedSpec().FQDN)...)...)

	stored, err := safe.StateGetByID[*configres.MachineConfig](ctx, s.State, configres.ActiveID)
	if err != nil {
		return out, fmt.Errorf("read the machine configuration: %w", err)
	}

	machine, err := config.Load(stored.TypedSpec().Data)
	if err != nil {
		return out, fmt.Errorf("load the machine configuration: %w", err)
	}

	add("the cluster's endpoint", endpointHosts(ctx, spec.ClusterEndpoint(machine))...)
	add("the control planes together", spec.VIPs(machine)...)

	members, err := safe.StateListAll[*cluster.Member](ctx, s.State)
	if err != nil && !router.IsNoOwner(err) {
		return out, fmt.Errorf("list the members: %w", err)
	}

	if err == nil {
		out.Workers = map[netip.Addr]string{}
		sort(members, from, &out, add)
	}

	return out, nil
}

// sort takes the members apart. One that has the caller's address is the caller, and what it has, such as the address of a
// bridge that every machine has, is the caller's too.
func sort(members safe.List[*cluster.Member], from netip.Addr, out *Others, add func(string, ...string)) {
	var own []netip.Addr

	for member := range members.All() {
		m := member.TypedSpec()
		mine := slices.Contains(m.Addresses, from)

		switch {
		case m.MachineType == enums.MachineTypeControlPlane || m.MachineType == enums.MachineTypeInit:
			add("the control plane "+m.Hostname, append(texts(m.Addresses), m.Hostname, member.Metadata().ID())...)
		case mine:
			own = append(own, m.Addresses...)
		default:
			for _, addr := range m.Addresses {
				out.Workers[addr.Unmap()] = m.Hostname
			}
		}
	}

	for _, addr := range own {
		delete(out.Workers, addr.Unmap())
	}
}

// endpointHosts are the endpoint's name and, as far as they can be found, its addresses.
func endpointHosts(ctx context.Context, endpoint string) []string {
	ctx, cancel := context.WithTimeout(ctx, askLimit/4)
	defer cancel()

	addresses, _ := net.DefaultResolver.LookupHost(ctx, endpoint) // the name is refused in any case

	return append(addresses, endpoint)
}

func texts(addresses []netip.Addr) []string {
	out := make([]string, len(addresses))
	for i, addr := range addresses {
		out[i] = addr.Unmap().WithZone("").String()
	}

	return out
}
