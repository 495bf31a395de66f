package trustd_test

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cosi-project/runtime/pkg/resource/meta"
	"github.com/cosi-project/runtime/pkg/safe"
	"github.com/cosi-project/runtime/pkg/state"
	"go.yaml.in/yaml/v4"

	"github.com/dactyl-os/dactyl/proto/config/generate"
	respki "github.com/dactyl-os/dactyl/proto/resource/pki"
	"github.com/dactyl-os/dactyl/proto/resource/secrets"
	"github.com/dactyl-os/dactyl/services/kit/kittest"
)

const (
	pkg     = "./cmd/trustd"
	patient = 30 * time.Second
)

// document is a configuration that a test changes before it is used.
type document = map[string]any

func section(d document, name string) document { return d[name].(document) } //nolint:forcetypeassert // the tests' own

func text(t *testing.T, d document) string {
	t.Helper()

	data, err := yaml.Marshal(d)
	if err != nil {
		t.Fatal(err)
	}

	return string(data)
}

func configs(t *testing.T) (controlPlane, worker document) {
	t.Helper()

	out, err := generate.Config(generate.Input{ClusterName: "forge", Endpoint: "https://10.5.0.2:6443", Now: time.Now()})
	if err != nil {
		t.Fatal(err)
	}

	if err := yaml.Unmarshal(out.ControlPlane, &controlPlane); err != nil {
		t.Fatal(err)
	}

	if err := yaml.Unmarshal(out.Worker, &worker); err != nil {
		t.Fatal(err)
	}

	return controlPlane, worker
}

func states(t *testing.T, d *kittest.Daemon) state.State {
	t.Helper()
	d.FailOnErrors(t)

	return d.State()
}

// await reads a resource until it satisfies the condition.
func await[T meta.ResourceWithRD](t *testing.T, st state.State, id string, what string, cond func(T) bool) T {
	t.Helper()

	var found T

	kittest.Await(t, patient, what, func() bool {
		ctx, cancel := context.WithTimeout(t.Context(), patient)
		defer cancel()

		got, err := safe.StateGetByID[T](ctx, st, id)
		if err != nil {
			return false
		}

		found = got

		return cond(got)
	})

	return found
}

func hasServer(api *secrets.APICerts) bool { return api.TypedSpec().Server != nil }

func openssl(t *testing.T, args ...string) string {
	t.Helper()

	out, err := exec.Command("openssl", args...).CombinedOutput()
	if err != nil {
		t.Errorf("openssl %s: %v\n%s", strings.Join(args, " "), err, out)
	}

	return string(out)
}

// verify asks openssl whether the pair is good for the purpose, and gives what it reads in it.
func verify(t *testing.T, ca []byte, pair *respki.CertificateAndKey, purpose string) string {
	t.Helper()

	dir := t.TempDir()
	for name, data := range map[string][]byte{"ca": ca, "crt": pair.Crt, "key": pair.Key} {
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o600); err != nil {
			t.Fatal(err)
		}
	}

	openssl(t, "verify", "-purpose", purpose, "-CAfile", filepath.Join(dir, "ca"), filepath.Join(dir, "crt"))

	crt := filepath.Join(dir, "crt")
	if openssl(t, "pkey", "-in", filepath.Join(dir, "key"), "-pubout") != openssl(t, "x509", "-noout", "-pubkey", "-in", crt) {
		t.Error("openssl reads another key than the certificate's")
	}

	return openssl(t, "x509", "-noout", "-text", "-in", crt)
}

func contains(t *testing.T, text string, parts ...string) {
	t.Helper()

	for _, part := range parts {
		if !strings.Contains(text, part) {
			t.Errorf("%q is not in\n%s", part, text)
		}
	}
}

func TestControlPlane(t *testing.T) {
	t.Parallel()

	ns := kittest.LAN(t, 1)[0]
	config, _ := configs(t)
	section(config, "machine")["certSANs"] = []string{"forge.example.org", "192.0.2.7"}

	daemon := kittest.Start(t, pkg, kittest.Options{Config: text(t, config), NS: ns, Env: []string{"DACTYL_HOSTNAME=cp-1.example.org"}})
	st := states(t, daemon)

	// 1. What is issued satisfies openssl.
	root := await(t, st, secrets.OSRootID, "the OS CA", func(*secrets.OSRoot) bool { return true }).TypedSpec()
	api := await(t, st, secrets.APIID, "API certificates", hasServer)

	seen := verify(t, root.IssuingCA.Crt, api.TypedSpec().Server, "sslserver")
	contains(t, seen, "ED25519", "CN = cp-1.example.org", "DNS:cp-1", "DNS:forge.example.org", "IP Address:10.5.0.2", "IP Address:127.0.0.1", "IP Address:192.0.2.7")

	contains(t, verify(t, root.IssuingCA.Crt, api.TypedSpec().Client, "sslclient"), "O = os:impersonator")

	if len(api.TypedSpec().AcceptedCAs) != 1 {
		t.Errorf("%d accepted CAs", len(api.TypedSpec().AcceptedCAs))
	}

	etcdRoot := await(t, st, secrets.EtcdRootID, "the CA of etcd", func(*secrets.EtcdRoot) bool { return true }).TypedSpec()
	etcd := await(t, st, secrets.EtcdID, "certificates of etcd", func(c *secrets.EtcdCerts) bool { return c.TypedSpec().EtcdAPIServer != nil }).TypedSpec()

	for _, pair := range []*respki.CertificateAndKey{etcd.Etcd, etcd.EtcdPeer} {
		contains(t, verify(t, etcdRoot.EtcdCA.Crt, pair, "sslserver"), "IP Address:10.5.0.2", "NIST CURVE: P-256")
		verify(t, etcdRoot.EtcdCA.Crt, pair, "sslclient")
	}

	verify(t, etcdRoot.EtcdCA.Crt, etcd.EtcdAdmin, "sslclient")
	verify(t, etcdRoot.EtcdCA.Crt, etcd.EtcdAPIServer, "sslclient")

	kubernetes := await(t, st, secrets.KubernetesRootID, "the CA of Kubernetes", func(*secrets.KubernetesRoot) bool { return true }).TypedSpec()
	if kubernetes.Endpoint.String() != "https://10.5.0.2:6443" || len(kubernetes.APIServerIPs) == 0 {
		t.Errorf("Kubernetes root: endpoint %s, API server at %s", kubernetes.Endpoint, kubernetes.APIServerIPs)
	}

	// 2. kill -9 twice: a watcher sees nothing, and the certificates are the same ones.
	events := make(chan state.Event, 16)
	if err := st.Watch(t.Context(), secrets.NewAPICerts(secrets.NamespaceName, secrets.APIID).Metadata(), events); err != nil {
		t.Fatal(err)
	}

	<-events // the current one

	for range 2 {
		kittest.Await(t, patient, "the snapshot", func() bool {
			info, err := os.Stat(filepath.Join(daemon.RunDir, "trustd/resources"))

			return err == nil && info.Mode().Perm() == 0o600 && info.Size() > 4096
		})
		daemon.Restart()

		again := await(t, st, secrets.APIID, "API certificates", hasServer)
		if !bytes.Equal(again.TypedSpec().Server.Crt, api.TypedSpec().Server.Crt) || !bytes.Equal(again.TypedSpec().Client.Key, api.TypedSpec().Client.Key) {
			t.Error("a restart issued new certificates")
		}
	}

	// 3. A new address makes a new server certificate and leaves the client's alone.
	ns.Exec("ip", "addr", "add", "10.5.0.22/24", "dev", "eth0")

	moved := await(t, st, secrets.APIID, "a certificate with the new address", func(c *secrets.APICerts) bool {
		return !bytes.Equal(c.TypedSpec().Server.Crt, api.TypedSpec().Server.Crt)
	})
	contains(t, verify(t, root.IssuingCA.Crt, moved.TypedSpec().Server, "sslserver"), "IP Address:10.5.0.22")

	if !bytes.Equal(moved.TypedSpec().Client.Crt, api.TypedSpec().Client.Crt) {
		t.Error("a new address changed the client certificate")
	}

	// The first change that the watcher sees since the start is this one.
	select {
	case event := <-events:
		changed, ok := event.Resource.(*secrets.APICerts)
		if event.Type != state.Updated || !ok || !bytes.Equal(changed.TypedSpec().Server.Crt, moved.TypedSpec().Server.Crt) {
			t.Errorf("the watcher saw %s %v", event.Type, event.Error)
		}
	case <-time.After(patient):
		t.Error("the watcher saw no change")
	}
}

func TestWorker(t *testing.T) {
	t.Parallel()

	nodes := kittest.LAN(t, 4)
	controlPlane, worker := configs(t)

	cp := kittest.Start(t, pkg, kittest.Options{Config: text(t, controlPlane), NS: nodes[0], Env: []string{"DACTYL_HOSTNAME=cp-1"}})
	root := await(t, states(t, cp), secrets.OSRootID, "the OS CA", func(*secrets.OSRoot) bool { return true }).TypedSpec()

	good := kittest.Start(t, pkg, kittest.Options{Config: text(t, worker), NS: nodes[1], Env: []string{"DACTYL_HOSTNAME=worker-1"}})
	st := states(t, good)

	api := await(t, st, secrets.APIID, "the worker's certificate", hasServer).TypedSpec()
	contains(t, verify(t, root.IssuingCA.Crt, api.Server, "sslserver"), "CN = worker-1", "IP Address:10.5.0.3", "TLS Web Server Authentication")

	if api.Client != nil {
		t.Error("a worker has a client certificate")
	}

	own := await(t, st, secrets.OSRootID, "the worker's OS CA", func(*secrets.OSRoot) bool { return true }).TypedSpec()
	if len(own.IssuingCA.Key) != 0 {
		t.Error("a worker has the key of the OS CA")
	}

	for _, id := range []string{secrets.TrustdID, secrets.EtcdID} {
		if _, err := safe.StateGetByID[*secrets.TrustdCerts](t.Context(), st, id); !state.IsNotFoundError(err) {
			t.Errorf("a worker has %s certificates: %v", id, err)
		}
	}

	// A generated configuration gives workers the names of the control plane too: they are left out, and the rest is signed.
	section(worker, "machine")["certSANs"] = []any{"10.5.0.2", "worker.example.org"}
	more := kittest.Start(t, pkg, kittest.Options{Config: text(t, worker), NS: nodes[3], Env: []string{"DACTYL_HOSTNAME=worker-3"}})
	less := await(t, states(t, more), secrets.APIID, "the certificate of a worker with names of the control plane", hasServer).TypedSpec()

	if shown := verify(t, root.IssuingCA.Crt, less.Server, "sslserver"); strings.Contains(shown, "10.5.0.2") {
		t.Errorf("a worker may stand in for the control plane:\n%s", shown)
	}

	kittest.Await(t, patient, "the worker to tell why", func() bool {
		return strings.Contains(more.Log(), `\"10.5.0.2\" belongs to this control plane`)
	})

	// A worker with a wrong token is told so, and keeps trying.
	section(worker, "machine")["token"] = "wrong0.0123456789abcdef"
	bad := kittest.Start(t, pkg, kittest.Options{Config: text(t, worker), NS: nodes[2], Env: []string{"DACTYL_HOSTNAME=worker-2"}})

	kittest.Await(t, patient, "the reason in the log", func() bool {
		return strings.Contains(bad.Log(), "ask 10.5.0.2:50001 for a certificate: wrong machine token: machine.token must be the same on all machines of a cluster")
	})

	if _, err := safe.StateGetByID[*secrets.APICerts](t.Context(), states(t, bad), secrets.APIID); !state.IsNotFoundError(err) {
		t.Errorf("a worker with a wrong token has certificates: %v", err)
	}
}

// A rotation in its three steps, as guide 04 does it by patches.
func TestRotation(t *testing.T) {
	t.Parallel()

	ns := kittest.LAN(t, 1)[0]
	config, _ := configs(t)
	other, _ := configs(t)
	oldCA, newCA := section(config, "machine")["ca"], section(other, "machine")["ca"]

	daemon := kittest.Start(t, pkg, kittest.Options{Config: text(t, config), NS: ns, Env: []string{"DACTYL_HOSTNAME=cp-1"}})
	st := states(t, daemon)
	before := await(t, st, secrets.APIID, "API certificates", hasServer).TypedSpec()

	apply := func() {
		file := filepath.Join(daemon.StateDir, "kittest-config.yaml")
		if err := os.WriteFile(file, []byte(text(t, config)), 0o600); err != nil {
			t.Fatal(err)
		}
	}

	crt := func(ca any) document { return document{"crt": ca.(document)["crt"]} } //nolint:forcetypeassert // the tests' own

	section(config, "machine")["acceptedCAs"] = []any{crt(newCA)}
	apply()

	both := await(t, st, secrets.APIID, "two accepted CAs", func(c *secrets.APICerts) bool { return len(c.TypedSpec().AcceptedCAs) == 2 }).TypedSpec()
	if !bytes.Equal(both.Server.Crt, before.Server.Crt) {
		t.Error("accepting a CA changed the certificate")
	}

	section(config, "machine")["ca"], section(config, "machine")["acceptedCAs"] = newCA, []any{crt(oldCA)}
	apply()

	swapped := await(t, st, secrets.APIID, "a certificate by the new CA", func(c *secrets.APICerts) bool {
		return !bytes.Equal(c.TypedSpec().Server.Crt, before.Server.Crt) && !bytes.Equal(c.TypedSpec().Client.Crt, before.Client.Crt)
	}).TypedSpec()

	root := await(t, st, secrets.OSRootID, "the new CA", func(*secrets.OSRoot) bool { return true }).TypedSpec()
	verify(t, root.IssuingCA.Crt, swapped.Server, "sslserver")
	verify(t, root.IssuingCA.Crt, swapped.Client, "sslclient")

	delete(section(config, "machine"), "acceptedCAs")
	apply()

	last := await(t, st, secrets.APIID, "one accepted CA", func(c *secrets.APICerts) bool { return len(c.TypedSpec().AcceptedCAs) == 1 }).TypedSpec()
	if !bytes.Equal(last.Server.Crt, swapped.Server.Crt) || !slices.Equal(last.AcceptedCAs[0].Crt, root.IssuingCA.Crt) {
		t.Error("dropping the old CA changed more than that")
	}
}

// TestWorkerAheadOfItsControlPlane: by the manual steps a worker may have the new CA first. It keeps its certificate, asks until a
// control plane has the CA too, and has no new one in between.
func TestWorkerAheadOfItsControlPlane(t *testing.T) {
	t.Parallel()

	nodes := kittest.LAN(t, 2)
	controlPlane, worker := configs(t)
	other, _ := configs(t)
	oldCA, newCA := section(controlPlane, "machine")["ca"], section(other, "machine")["ca"]
	crt := func(ca any) document { return document{"crt": ca.(document)["crt"]} } //nolint:forcetypeassert // the tests' own

	for _, d := range []document{controlPlane, worker} {
		section(d, "machine")["acceptedCAs"] = []any{crt(newCA)}
	}

	cp := kittest.Start(t, pkg, kittest.Options{Config: text(t, controlPlane), NS: nodes[0], Env: []string{"DACTYL_HOSTNAME=cp-1"}})
	ahead := kittest.Start(t, pkg, kittest.Options{Config: text(t, worker), NS: nodes[1], Env: []string{"DACTYL_HOSTNAME=worker-1"}})
	st := states(t, ahead)
	before := await(t, st, secrets.APIID, "the worker's certificate", hasServer).TypedSpec()

	swap := func(daemon *kittest.Daemon, d document, ca any) {
		section(d, "machine")["ca"], section(d, "machine")["acceptedCAs"] = ca, []any{crt(oldCA)}

		if err := os.WriteFile(filepath.Join(daemon.StateDir, "kittest-config.yaml"), []byte(text(t, d)), 0o600); err != nil {
			t.Fatal(err)
		}
	}

	swap(ahead, worker, crt(newCA))
	kittest.Await(t, patient, "the reason in the log", func() bool {
		return strings.Contains(ahead.Log(), "the one that came is no better: the issuing CA changed")
	})

	if kept := await(t, st, secrets.APIID, "the worker's certificate", hasServer).TypedSpec(); !bytes.Equal(kept.Server.Crt, before.Server.Crt) {
		t.Error("the worker has another certificate of the old CA")
	}

	swap(cp, controlPlane, newCA)

	after := await(t, st, secrets.APIID, "a certificate by the new CA", func(c *secrets.APICerts) bool {
		return !bytes.Equal(c.TypedSpec().Server.Crt, before.Server.Crt)
	}).TypedSpec()
	root := await(t, st, secrets.OSRootID, "the new CA", func(*secrets.OSRoot) bool { return true }).TypedSpec()
	verify(t, root.IssuingCA.Crt, after.Server, "sslserver")
}

// A machine without a configuration shows a certificate of its own making; its
// fingerprint, which somebody may have written down, survives a crash.
func TestMaintenance(t *testing.T) {
	t.Parallel()

	configd := kittest.Start(t, "../configd/cmd/configd", kittest.Options{})
	daemon := kittest.Start(t, pkg, kittest.Options{NS: kittest.LAN(t, 1)[0], RunDir: configd.RunDir})
	st := states(t, daemon)

	certs := await(t, st, secrets.MaintenanceServiceID, "the certificate of maintenance mode", func(c *secrets.MaintenanceServiceCerts) bool {
		return c.TypedSpec().Server != nil
	}).TypedSpec()

	contains(t, verify(t, certs.CA.Crt, certs.Server, "sslserver"), "IP Address:127.0.0.1", "DNS:localhost")

	if _, err := safe.StateGetByID[*secrets.APICerts](t.Context(), st, secrets.APIID); !state.IsNotFoundError(err) {
		t.Errorf("API certificates without a configuration: %v", err)
	}

	kittest.Await(t, patient, "the snapshot", func() bool {
		_, err := os.Stat(filepath.Join(daemon.RunDir, "trustd/resources"))

		return err == nil
	})
	daemon.Restart()

	again := await(t, st, secrets.MaintenanceServiceID, "the same certificate", func(*secrets.MaintenanceServiceCerts) bool { return true }).TypedSpec()
	if !bytes.Equal(again.Server.Crt, certs.Server.Crt) {
		t.Error("a restart changed the fingerprint")
	}

	// A configuration that cannot be read is one.
	configd.Kill()

	if err := os.WriteFile(filepath.Join(configd.StateDir, "config.yaml"), []byte("machine: ["), 0o600); err != nil {
		t.Fatal(err)
	}

	configd.Launch()
	configd.AwaitServing()
	kittest.Await(t, patient, "the certificate is withdrawn", func() bool {
		_, err := safe.StateGetByID[*secrets.MaintenanceServiceCerts](t.Context(), st, secrets.MaintenanceServiceID)

		return state.IsNotFoundError(err)
	})
}
