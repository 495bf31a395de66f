package generate_test

import (
	"crypto/x509"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/dactyl-os/dactyl/proto/config"
	"github.com/dactyl-os/dactyl/proto/config/generate"
	"github.com/dactyl-os/dactyl/proto/config/pki"
)

func TestConfigValidates(t *testing.T) {
	for _, docs := range []bool{false, true} {
		out, err := generate.Config(generate.Input{
			ClusterName: "demo", Endpoint: "10.5.0.2", Docs: docs, Examples: docs, AdditionalSANs: []string{"10.5.0.9", "demo.example.org"},
			RegistryMirrors: []string{"docker.io=http://10.5.0.1:6000"}, KubeSpan: true, ClientEndpoints: []string{"10.5.0.2"},
		})
		if err != nil {
			t.Fatal(err)
		}

		for name, data := range map[string][]byte{"controlplane": out.ControlPlane, "worker": out.Worker} {
			c, err := config.Load(data)
			if err != nil {
				t.Fatalf("%s: %v\n%s", name, err, data)
			}

			for _, mode := range []config.Mode{config.Metal, config.Container, config.Cloud} {
				if found, err := c.Validate(mode, config.New); err != nil || len(found.All()) > 0 {
					t.Errorf("%s, mode %s: found.All() %q, error %v", name, mode, found.All(), err)
				}
			}

			if c.MachineType() != name || c.Cluster().ControlPlane.Endpoint != "https://10.5.0.2:6443" {
				t.Errorf("%s: type %s, endpoint %s", name, c.MachineType(), c.Cluster().ControlPlane.Endpoint)
			}

			if docs != strings.Contains(string(data), "# Role of the machine") {
				t.Errorf("%s: docs are %v", name, docs)
			}
		}

		if w, _ := config.Load(out.Worker); len(w.Machine().CA.Key) > 0 || len(w.Cluster().CA.Key) > 0 || w.Cluster().SecretboxEncryptionSecret != "" {
			t.Error("the worker's configuration holds a control plane key")
		}

		if _, err := out.Client.Contexts["demo"].TLS(); err != nil {
			t.Error(err)
		}
	}
}

func TestClientCertificate(t *testing.T) {
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

	bundle, err := generate.NewBundle(now)
	if err != nil {
		t.Fatal(err)
	}

	pair, err := bundle.ClientPair([]string{"os:reader"}, now, time.Hour)
	if err != nil {
		t.Fatal(err)
	}

	cert, err := pki.ParseCertificate(pair.Crt)
	if err != nil {
		t.Fatal(err)
	}

	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(bundle.Certs.OS.Crt)

	options := x509.VerifyOptions{Roots: roots, CurrentTime: now.Add(time.Minute), KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}
	if _, err := cert.Verify(options); err != nil {
		t.Error(err)
	}

	options.KeyUsages = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
	if _, err := cert.Verify(options); err == nil {
		t.Error("a client certificate serves")
	}

	options.CurrentTime, options.KeyUsages = now.Add(2*time.Hour), nil
	if _, err := cert.Verify(options); err == nil {
		t.Error("it lives longer than asked for")
	}

	if !slices.Equal(cert.Subject.Organization, []string{"os:reader"}) {
		t.Errorf("organization %q", cert.Subject.Organization)
	}
}

func TestBundleRoundTrips(t *testing.T) {
	bundle, err := generate.NewBundle(time.Now())
	if err != nil {
		t.Fatal(err)
	}

	data, err := bundle.Bytes()
	if err != nil {
		t.Fatal(err)
	}

	for _, key := range []string{"bootstraptoken:", "secretboxencryptionsecret:", "trustdinfo:", "k8saggregator:", "k8sserviceaccount:", "os:"} {
		if !strings.Contains(string(data), key) {
			t.Errorf("no %s in the bundle", key)
		}
	}

	again, err := generate.LoadBundle(data)
	if err != nil {
		t.Fatal(err)
	}

	out, err := generate.Config(generate.Input{ClusterName: "demo", Endpoint: "https://demo.example.org:443", Bundle: again})
	if err != nil {
		t.Fatal(err)
	}

	c, err := config.Load(out.ControlPlane)
	if err != nil {
		t.Fatal(err)
	}

	taken, err := generate.FromConfig(c)
	if err != nil {
		t.Fatal(err)
	}

	if takenData, _ := taken.Bytes(); string(takenData) != string(data) {
		t.Errorf("the secrets taken from the configuration differ:\n%s", takenData)
	}
}

func TestFromKubernetesPKI(t *testing.T) {
	bundle, err := generate.NewBundle(time.Now())
	if err != nil {
		t.Fatal(err)
	}

	files := fstest.MapFS{"sa.key": {Data: bundle.Certs.K8sServiceAccount.Key}}
	for name, ca := range map[string]*config.CertificateAndKey{"ca": bundle.Certs.K8s, "etcd/ca": bundle.Certs.Etcd, "front-proxy-ca": bundle.Certs.K8sAggregator} {
		files[name+".crt"], files[name+".key"] = &fstest.MapFile{Data: ca.Crt}, &fstest.MapFile{Data: ca.Key}
	}

	taken, err := generate.FromKubernetesPKI(files, "abcdef.0123456789abcdef", time.Now())
	if err != nil {
		t.Fatal(err)
	}

	if string(taken.Certs.K8s.Key) != string(bundle.Certs.K8s.Key) || taken.Secrets.BootstrapToken != "abcdef.0123456789abcdef" || taken.Certs.OS == nil {
		t.Error("the bundle lacks what the folder has, or what the folder cannot have")
	}

	delete(files, "etcd/ca.key")

	if _, err := generate.FromKubernetesPKI(files, "", time.Now()); err == nil || !strings.Contains(err.Error(), "etcd/ca.key") {
		t.Errorf("error %v", err)
	}
}

func TestLoadBundleRefuses(t *testing.T) {
	for text, want := range map[string]string{
		"cluster: {idd: x}":             `line 1: cluster.idd: unknown field (hint: did you mean "id"?)`,
		"cluster: {id: a, secret: b}":   "is missing",
		"trustdinfo: [1]":               "expected a mapping, found a list",
		"cluster: {}\n---\ncluster: {}": "2 documents",
	} {
		if _, err := generate.LoadBundle([]byte(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: error %v, want %q", text, err, want)
		}
	}
}
