package spec_test

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"github.com/dactyl-os/dactyl/proto/config"
	"github.com/dactyl-os/dactyl/services/trustd/internal/spec"
)

func load(t *testing.T, text string) *config.Config {
	t.Helper()

	c, err := config.Load([]byte("version: v1alpha1\n" + text))
	if err != nil {
		t.Fatal(err)
	}

	return c
}

const common = `
  token: abc.def
  ca: {crt: aXNzdWluZw==, key: a2V5}
  acceptedCAs: [{crt: b3RoZXI=}, {crt: aXNzdWluZw==}]
  certSANs: [forge.example.org, 192.0.2.7]
cluster:
  clusterName: forge
  controlPlane: {endpoint: "https://api.example.org:6443"}
  token: one.two
  ca: {crt: azhz, key: a2V5}
  etcd: {ca: {crt: ZXRjZA==, key: a2V5}}
  network: {dnsDomain: forge.local, serviceSubnets: [10.96.0.0/12, "fd00:1::/112"]}
`

func TestOSRoot(t *testing.T) {
	t.Parallel()

	for kind, names := range map[string]string{
		"controlplane": "[localhost forge.example.org api.example.org]",
		"worker":       "[localhost forge.example.org]", // the endpoint is not a worker's to claim
	} {
		root := spec.OSRoot(load(t, "machine:\n  type: "+kind+common))

		if got := fmt.Sprint(root.CertSANDNSNames); got != names {
			t.Errorf("%s: names %s, want %s", kind, got, names)
		}

		if got := fmt.Sprint(root.CertSANIPs); got != "[127.0.0.1 ::1 192.0.2.7]" {
			t.Errorf("%s: addresses %s", kind, got)
		}

		var accepted []string
		for _, ca := range root.AcceptedCAs {
			accepted = append(accepted, strings.TrimSpace(string(ca.Crt)))
		}

		if got := strings.Join(accepted, " "); got != "issuing other" {
			t.Errorf("%s: accepted CAs %q", kind, got)
		}

		if root.Token != "abc.def" || string(root.IssuingCA.Key) != "key" {
			t.Errorf("%s: token %q, key %q", kind, root.Token, root.IssuingCA.Key)
		}
	}

	pods := load(t, "machine:\n  type: controlplane\n  features: {kubernetesTalosAPIAccess: {enabled: true}}\n")
	if got := fmt.Sprint(spec.OSRoot(pods).CertSANDNSNames); got != "[localhost talos talos.default talos.default.svc]" {
		t.Errorf("with access from pods: %s", got)
	}
}

func TestRootsOfControlPlanesOnly(t *testing.T) {
	t.Parallel()

	controlPlane, worker := load(t, "machine:\n  type: controlplane"+common), load(t, "machine:\n  type: worker"+common)

	if root, ok := spec.EtcdRoot(controlPlane); !ok || string(root.EtcdCA.Crt) != "etcd" {
		t.Errorf("CA of etcd: %+v", root)
	}

	root, ok := spec.KubernetesRoot(controlPlane)
	if !ok || root.BootstrapTokenID != "one" || root.BootstrapTokenSecret != "two" || root.DNSDomain != "forge.local" ||
		root.LocalEndpoint.String() != "https://localhost:6443" || fmt.Sprint(root.APIServerIPs) != "[10.96.0.1 fd00:1::1]" {
		t.Errorf("CA of Kubernetes: %+v", root)
	}

	if _, ok := spec.EtcdRoot(worker); ok {
		t.Error("a worker has the CA of etcd")
	}

	if _, ok := spec.KubernetesRoot(worker); ok {
		t.Error("a worker has the CA of Kubernetes")
	}
}

func TestSANs(t *testing.T) {
	t.Parallel()

	root := spec.OSRoot(load(t, "machine:\n  type: worker"+common))
	sans := spec.SANs(root, "cp-1", "example.org", []netip.Addr{
		netip.MustParseAddr("10.5.0.2"), netip.MustParseAddr("fe80::1%eth0"), netip.MustParseAddr("127.0.0.1"), netip.MustParseAddr("10.5.0.2"),
	})

	if got := fmt.Sprintf("%v %v %s", sans.IPs, sans.DNSNames, sans.FQDN); got != "[10.5.0.2 127.0.0.1 192.0.2.7 ::1 fe80::1] [cp-1 cp-1.example.org forge.example.org localhost] cp-1.example.org" {
		t.Errorf("got %s", got)
	}

	if sans := spec.SANs(root, "", "", nil); sans.FQDN != "" || fmt.Sprint(sans.DNSNames) != "[forge.example.org localhost]" {
		t.Errorf("without a name: %+v", sans)
	}
}
