package spec

import (
	"net/netip"
	"slices"

	keys "github.com/dactyl-os/dactyl/proto/config/pki"
	"github.com/dactyl-os/dactyl/proto/resource/secrets"
	"github.com/dactyl-os/dactyl/services/trustd/internal/pki"
)

// APIServer is what the gateway shows to its callers.
func APIServer(sans secrets.CertSANSpec) pki.Request { return server(sans, pki.Server, keys.Ed25519) }

// Worker is what a worker may ask of that: what every machine has is not signed for it.
func Worker(sans secrets.CertSANSpec) pki.Request {
	return APIServer(Without(sans, func(addr netip.Addr) bool {
		return addr.IsLoopback() || addr.IsLinkLocalUnicast()
	}, func(name string) bool { return name == "localhost" }))
}

// Without leaves addresses and names out.
func Without(sans secrets.CertSANSpec, addr func(netip.Addr) bool, name func(string) bool) secrets.CertSANSpec {
	sans.IPs = slices.DeleteFunc(slices.Clone(sans.IPs), addr)
	sans.DNSNames = slices.DeleteFunc(slices.Clone(sans.DNSNames), name)

	return sans
}

// APIClient is what the gateway of a control plane shows to other gateways.
func APIClient(sans secrets.CertSANSpec) pki.Request {
	return pki.Request{CommonName: sans.FQDN, Organization: []string{Impersonator}, Usage: pki.Client}
}

// Trustd is what this daemon shows on its own port.
func Trustd(sans secrets.CertSANSpec) pki.Request { return server(sans, pki.Server, keys.Ed25519) }

// EtcdServer is what etcd shows to clients and, calling itself, as a client;
// to its peers it shows another of the same content.
func EtcdServer(sans secrets.CertSANSpec) pki.Request {
	return server(sans, pki.Server|pki.Client, keys.ECDSAP256)
}

// EtcdAdmin is for the operators' tools on the machine.
func EtcdAdmin() pki.Request {
	return pki.Request{CommonName: "talos", Usage: pki.Client, Algorithm: keys.ECDSAP256}
}

// EtcdAPIServer is for the Kubernetes API server.
func EtcdAPIServer() pki.Request {
	return pki.Request{CommonName: "kube-apiserver-etcd-client", Usage: pki.Client, Algorithm: keys.ECDSAP256}
}

// Maintenance is what the gateway shows before there is a configuration.
func Maintenance(sans secrets.CertSANSpec) pki.Request {
	return server(sans, pki.Server, keys.Ed25519)
}

func server(sans secrets.CertSANSpec, usage pki.Usage, algorithm keys.Algorithm) pki.Request {
	return pki.Request{CommonName: sans.FQDN, IPs: sans.IPs, DNSNames: sans.DNSNames, Usage: usage, Algorithm: algorithm}
}
