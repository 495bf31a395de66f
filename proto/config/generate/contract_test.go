package generate_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/dactyl-os/dactyl/proto/config"
	"github.com/dactyl-os/dactyl/proto/config/diff"
	"github.com/dactyl-os/dactyl/proto/config/generate"
)

func parsed(t *testing.T, data []byte) config.Tree {
	t.Helper()

	docs, err := config.Parse(data)
	if err != nil {
		t.Fatal(err)
	}

	return docs
}

// TestContracts writes down what each version of the contract writes that the one before did not, or no more.
func TestContracts(t *testing.T) {
	bundle, err := generate.NewBundle(time.Now())
	if err != nil {
		t.Fatal(err)
	}

	make := func(version string) *generate.Output {
		contract, err := generate.ParseContract(version)
		if err != nil {
			t.Fatal(err)
		}

		out, err := generate.Config(generate.Input{ClusterName: "c", Endpoint: "10.5.0.2", Bundle: bundle, Contract: contract, AllowSchedulingOnControlPlanes: true})
		if err != nil {
			t.Fatal(err)
		}

		return out
	}

	var got strings.Builder

	before := make("v1.0")
	for minor := 1; minor <= 8; minor++ {
		after := make(fmt.Sprintf("v1.%d", minor))
		fmt.Fprintf(&got, "v1.%d\n", minor)

		for _, change := range diff.Changes(parsed(t, before.ControlPlane), parsed(t, after.ControlPlane)) {
			fmt.Fprintf(&got, "  controlplane %s\n", change)
		}

		for _, change := range diff.Changes(parsed(t, before.Worker), parsed(t, after.Worker)) {
			fmt.Fprintf(&got, "  worker %s\n", change)
		}

		before = after
	}

	const want = `v1.1
v1.2
  controlplane cluster.allowSchedulingOnControlPlanes
  controlplane cluster.allowSchedulingOnMasters
  controlplane cluster.discovery.registries.kubernetes.disabled
  controlplane machine.kubelet.defaultRuntimeSeccompProfileEnabled
  worker cluster.discovery.registries.kubernetes.disabled
  worker machine.kubelet.defaultRuntimeSeccompProfileEnabled
v1.3
  controlplane cluster.apiServer.auditPolicy.apiVersion
  controlplane cluster.apiServer.auditPolicy.kind
  controlplane cluster.apiServer.auditPolicy.rules
  controlplane machine.features.apidCheckExtKeyUsage
  controlplane machine.kubelet.disableManifestsDirectory
  worker machine.features.apidCheckExtKeyUsage
  worker machine.kubelet.disableManifestsDirectory
v1.4
v1.5
  controlplane machine.features.diskQuotaSupport
  worker machine.features.diskQuotaSupport
v1.6
  controlplane machine.features.kubePrism.enabled
  controlplane machine.features.kubePrism.port
  worker machine.features.kubePrism.enabled
  worker machine.features.kubePrism.port
v1.7
  controlplane machine.features.hostDNS.enabled
  worker machine.features.hostDNS.enabled
v1.8
  controlplane machine.features.hostDNS.forwardKubeDNSToHost
  controlplane machine.nodeLabels["node.kubernetes.io/exclude-from-external-load-balancers"]
  worker cluster.clusterName
  worker machine.features.hostDNS.forwardKubeDNSToHost
`

	if got.String() != want {
		t.Errorf("got\n%swant\n%s", got.String(), want)
	}

	if string(make("").Worker) != string(make("1.8.2").Worker) {
		t.Error("v1.8 is not the default")
	}
}

// TestEncryptionSecret is AES-CBC's before v1.3.
func TestEncryptionSecret(t *testing.T) {
	for version, old := range map[string]bool{"v1.2": true, "v1.3.1": false, "": false} {
		contract, err := generate.ParseContract(version)
		if err != nil {
			t.Fatal(err)
		}

		bundle, err := contract.NewBundle(time.Now())
		if err != nil {
			t.Fatal(err)
		}

		if (bundle.Secrets.AESCBCEncryptionSecret != "") != old || (bundle.Secrets.SecretboxEncryptionSecret != "") == old {
			t.Errorf("%q: %+v", version, bundle.Secrets)
		}
	}
}

func TestContractRefused(t *testing.T) {
	for _, version := range []string{"v1.9", "v2.0", "1", "x", "v1.99999999999999999999"} {
		if c, err := generate.ParseContract(version); err == nil {
			t.Errorf("%s is taken: %v", version, c)
		}
	}
}

// TestChecksWhatItMade: nothing is written that a machine would refuse.
func TestChecksWhatItMade(t *testing.T) {
	for want, change := range map[string]func(*generate.Input){
		`control plane: no machine would take it: machine configuration: document 1 (v1alpha1), line 37: cluster.controlPlane.endpoint: "99999" is not a port (hint: ports are 1 to 65535)`: func(in *generate.Input) { in.Endpoint = "https://10.5.0.2:99999" },
		`machine.certSANs[0]: "bad name" is neither a DNS name nor an IP address`:                                                                                                           func(in *generate.Input) { in.AdditionalSANs = []string{"bad name"} },
		`cluster.network.dnsDomain: "a b" is not a DNS name`:                                                                                                                                func(in *generate.Input) { in.DNSDomain = "a b" },
		`"abc" is not a version of Kubernetes: write it like 1.37.2`:                                                                                                                        func(in *generate.Input) { in.KubernetesVersion = "abc" },
		`"1.31" is not a version of Kubernetes: write it like 1.37.2`:                                                                                                                       func(in *generate.Input) { in.KubernetesVersion = "v1.31" },
		`the cluster has no name`: func(in *generate.Input) { in.ClusterName = "" },
		`cluster name "a b/c": letters, digits, dots, hyphens and underscores, 63 at most`: func(in *generate.Input) { in.ClusterName = "a b/c" },
		`endpoints[0]: "ftp://m" is not a URL that can be used here`:                       func(in *generate.Input) { in.RegistryMirrors = []string{"docker.io=ftp://m"} },
	} {
		in := generate.Input{ClusterName: "c", Endpoint: "https://10.5.0.2:6443"}
		change(&in)

		if _, err := generate.Config(in); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want %q", err, want)
		}
	}
}
