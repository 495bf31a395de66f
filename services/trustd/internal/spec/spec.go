// Package spec reads from the machine configuration and the state of the
// network which certificates this machine should have. It is pure.
package spec

import (
	"cmp"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/dactyl-os/dactyl/proto/config"
	respki "github.com/dactyl-os/dactyl/proto/resource/pki"
	"github.com/dactyl-os/dactyl/proto/resource/secrets"
	"github.com/dactyl-os/dactyl/services/trustd/internal/pki"
)

// Impersonator is the role of a gateway: it may say whose call it passes on.
const Impersonator = "os:impersonator"

// talosService is the name under which pods reach the API, when they may.
const talosService = "talos"

// OSRoot is the OS's certificate authority and what belongs to it.
func OSRoot(c *config.Config) secrets.OSRootSpec {
	root := secrets.OSRootSpec{
		Token:      c.Machine().Token,
		CertSANIPs: []netip.Addr{netip.MustParseAddr("127.0.0.1"), netip.IPv6Loopback()},
	}

	names := slices.Clone(c.Machine().CertSANs)
	if c.IsControlPlane() {
		names = append(names, endpoint(c).Hostname())
	}

	if features := c.Machine().Features; features != nil && features.KubernetesTalosAPIAccess != nil &&
		config.Bool(features.KubernetesTalosAPIAccess.Enabled, false) {
		names = append(names, talosService, talosService+".default", talosService+".default.svc")
	}

	root.CertSANDNSNames = []string{"localhost"}
	addNames(&root.CertSANIPs, &root.CertSANDNSNames, names)

	var issuing []byte

	if ca := c.Machine().CA; ca != nil {
		issuing = ca.Crt
		root.IssuingCA = &respki.CertificateAndKey{Crt: ca.Crt, Key: ca.Key}
	}

	root.AcceptedCAs = certificates(pki.Accepted(issuing, bytesOf(c.Machine().AcceptedCAs)...))

	return root
}

// EtcdRoot is etcd's certificate authority; false where there is none.
func EtcdRoot(c *config.Config) (secrets.EtcdRootSpec, bool) {
	etcd := c.Cluster().Etcd
	if !c.IsControlPlane() || etcd == nil || etcd.CA == nil {
		return secrets.EtcdRootSpec{}, false
	}

	return secrets.EtcdRootSpec{EtcdCA: &respki.CertificateAndKey{Crt: etcd.CA.Crt, Key: etcd.CA.Key}}, true
}

// KubernetesRoot is what Kubernetes needs of secrets; false where there is none.
func KubernetesRoot(c *config.Config) (secrets.KubernetesRootSpec, bool) {
	cluster := c.Cluster()
	if !c.IsControlPlane() || cluster.CA == nil {
		return secrets.KubernetesRootSpec{}, false
	}

	port := "6443"
	if cluster.ControlPlane != nil && cluster.ControlPlane.LocalAPIServerPort != 0 {
		port = strconv.Itoa(cluster.ControlPlane.LocalAPIServerPort)
	}

	root := secrets.KubernetesRootSpec{
		Name:                      cluster.ClusterName,
		Endpoint:                  endpoint(c),
		LocalEndpoint:             &url.URL{Scheme: "https", Host: "localhost:" + port},
		DNSDomain:                 "cluster.local",
		IssuingCA:                 &respki.CertificateAndKey{Crt: cluster.CA.Crt, Key: cluster.CA.Key},
		AcceptedCAs:               certificates(pki.Accepted(cluster.CA.Crt, bytesOf(cluster.AcceptedCAs)...)),
		AESCBCEncryptionSecret:    cluster.AESCBCEncryptionSecret,
		SecretboxEncryptionSecret: cluster.SecretboxEncryptionSecret,
		CertSANs:                  []string{endpoint(c).Hostname()},
	}

	root.BootstrapTokenID, root.BootstrapTokenSecret, _ = strings.Cut(cluster.Token, ".")

	if cluster.ServiceAccount != nil {
		root.ServiceAccount = &respki.Key{Key: cluster.ServiceAccount.Key}
	}

	if cluster.AggregatorCA != nil {
		root.AggregatorCA = &respki.CertificateAndKey{Crt: cluster.AggregatorCA.Crt, Key: cluster.AggregatorCA.Key}
	}

	if cluster.APIServer != nil {
		root.CertSANs = append(root.CertSANs, cluster.APIServer.CertSANs...)
	}

	if network := cluster.Network; network != nil {
		root.DNSDomain = cmp.Or(network.DNSDomain, root.DNSDomain)
		root.APIServerIPs = apiServerIPs(network.ServiceSubnets)
	}

	return root, true
}

// apiServerIPs are the first addresses of the service subnets, at which pods find the API.
func apiServerIPs(subnets []string) []netip.Addr {
	var ips []netip.Addr

	for _, text := range subnets {
		if subnet, err := netip.ParsePrefix(text); err == nil {
			ips = append(ips, subnet.Masked().Addr().Next())
		}
	}

	return ips
}

// SANs are the names and addresses of the API certificate.
func SANs(root secrets.OSRootSpec, hostname, domain string, addresses []netip.Addr) secrets.CertSANSpec {
	sans := secrets.CertSANSpec{FQDN: hostname}
	if hostname != "" && domain != "" {
		sans.FQDN += "." + domain
	}

	for _, addr := range slices.Concat(root.CertSANIPs, addresses) {
		sans.IPs = append(sans.IPs, addr.Unmap().WithZone(""))
	}

	slices.SortFunc(sans.IPs, netip.Addr.Compare)
	sans.IPs = slices.Compact(sans.IPs)

	sans.DNSNames = slices.DeleteFunc(append(slices.Clone(root.CertSANDNSNames), hostname, sans.FQDN), func(name string) bool { return name == "" })
	slices.Sort(sans.DNSNames)
	sans.DNSNames = slices.Compact(sans.DNSNames)

	return sans
}

// VIPs are the addresses that control planes share.
func VIPs(c *config.Config) []string {
	var vips []string

	add := func(vip *config.DeviceVIPConfig) {
		if vip != nil {
			vips = append(vips, vip.IP)
		}
	}

	for _, device := range c.Network().Interfaces {
		add(device.VIP)

		for _, vlan := range device.Vlans {
			add(vlan.VIP)
		}
	}

	return vips
}

// ClusterEndpoint is the host of the control plane endpoint, a name or an address.
func ClusterEndpoint(c *config.Config) string { return endpoint(c).Hostname() }

func endpoint(c *config.Config) *url.URL {
	if controlPlane := c.Cluster().ControlPlane; controlPlane != nil {
		if parsed, err := url.Parse(controlPlane.Endpoint); err == nil {
			return parsed
		}
	}

	return &url.URL{}
}

func addNames(ips *[]netip.Addr, names *[]string, list []string) {
	for _, name := range list {
		if addr, err := netip.ParseAddr(name); err == nil {
			*ips = append(*ips, addr)
		} else if name != "" {
			*names = append(*names, name)
		}
	}
}

func bytesOf(list []*config.Certificate) [][]byte {
	out := make([][]byte, 0, len(list))

	for _, certificate := range list {
		if certificate != nil {
			out = append(out, certificate.Crt)
		}
	}

	return out
}

func certificates(list [][]byte) []*respki.Certificate {
	out := make([]*respki.Certificate, 0, len(list))
	for _, crt := range list {
		out = append(out, &respki.Certificate{Crt: crt})
	}

	return out
}
