package service_test

import (
	"context"
	"crypto/tls"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/cosi-project/runtime/pkg/resource"
	"github.com/cosi-project/runtime/pkg/state"
	"github.com/cosi-project/runtime/pkg/state/impl/inmem"
	"github.com/cosi-project/runtime/pkg/state/impl/namespaced"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"

	keys "github.com/dactyl-os/dactyl/proto/config/pki"
	"github.com/dactyl-os/dactyl/proto/resource/cluster"
	configres "github.com/dactyl-os/dactyl/proto/resource/config"
	"github.com/dactyl-os/dactyl/proto/resource/enums"
	respki "github.com/dactyl-os/dactyl/proto/resource/pki"
	"github.com/dactyl-os/dactyl/proto/resource/secrets"
	securityapi "github.com/dactyl-os/dactyl/proto/security"
	"github.com/dactyl-os/dactyl/services/kit/kittest"
	"github.com/dactyl-os/dactyl/services/trustd/internal/pki"
	"github.com/dactyl-os/dactyl/services/trustd/internal/remote"
	"github.com/dactyl-os/dactyl/services/trustd/internal/service"
)

const token = "abcdef.0123456789abcdef"

var loopback = []netip.Addr{netip.MustParseAddr("127.0.0.1")}

const machineConfig = `version: v1alpha1
machine:
  type: controlplane
  network:
    interfaces:
      - interface: eth0
        vip: {ip: 10.5.0.100}
cluster:
  clusterName: forge
  controlPlane: {endpoint: "https://api.example.org:6443"}
`

// controlPlane is a state as a control plane's trustd has it.
func controlPlane(t *testing.T) (state.State, pki.Pair) {
	t.Helper()

	now := time.Now()

	root, err := keys.NewCA(keys.Ed25519, keys.Subject{Organization: []string{"talos"}, NotBefore: now, TTL: 10 * pki.LeafValidity})
	if err != nil {
		t.Fatal(err)
	}

	ca, err := pki.LoadAuthority(root)
	if err != nil {
		t.Fatal(err)
	}

	server, err := ca.Issue(pki.Request{CommonName: "cp-1", IPs: loopback, Usage: pki.Server}, now)
	if err != nil {
		t.Fatal(err)
	}

	st := state.WrapCore(namespaced.NewState(inmem.Build))

	osRoot := secrets.NewOSRoot(secrets.NamespaceName, secrets.OSRootID)
	osRoot.TypedSpec().IssuingCA = &respki.CertificateAndKey{Crt: root.Crt, Key: root.Key}
	osRoot.TypedSpec().AcceptedCAs = []*respki.Certificate{{Crt: root.Crt}}
	osRoot.TypedSpec().Token = token

	certs := secrets.NewTrustdCerts(secrets.NamespaceName, secrets.TrustdID)
	certs.TypedSpec().Server = &respki.CertificateAndKey{Crt: server.Crt, Key: server.Key}

	sans := secrets.NewCertSAN(secrets.NamespaceName, secrets.CertSANAPIID)
	*sans.TypedSpec() = secrets.CertSANSpec{FQDN: "cp-1", DNSNames: []string{"cp-1", "localhost"}, IPs: []netip.Addr{netip.MustParseAddr("10.5.0.2")}}

	machine := configres.NewMachineConfig(configres.NamespaceName, configres.ActiveID)
	machine.TypedSpec().Data = []byte(machineConfig)

	second := cluster.NewMember(cluster.NamespaceName, "cp-2")
	*second.TypedSpec() = cluster.MemberSpec{
		Hostname: "cp-2", MachineType: enums.MachineTypeControlPlane, Addresses: []netip.Addr{netip.MustParseAddr("10.5.0.3"), netip.MustParseAddr("fd00::3")},
	}

	other := cluster.NewMember(cluster.NamespaceName, "worker-2")
	*other.TypedSpec() = cluster.MemberSpec{Hostname: "worker-2", MachineType: enums.MachineTypeWorker, Addresses: []netip.Addr{netip.MustParseAddr("10.5.0.6")}}

	for _, r := range []resource.Resource{osRoot, certs, sans, machine, second, other} {
		if err := st.Create(t.Context(), r); err != nil {
			t.Fatal(err)
		}
	}

	return st, root
}

// serve runs the port of trustd on loopback and gives its address.
func serve(t *testing.T, st state.State) string {
	t.Helper()

	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}

	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	security := &service.Security{Local: st, State: st, Laptop: true, Log: slog.New(slog.NewTextHandler(io.Discard, nil)), Now: time.Now}

	go func() { done <- security.Serve(ctx, listener) }()

	t.Cleanup(func() {
		cancel()

		if err := <-done; err != nil {
			t.Errorf("serve: %v", err)
		}
	})

	return listener.Addr().String()
}

func signer(endpoint string, root pki.Pair, token string) *remote.Signer {
	return &remote.Signer{
		Token: token, Accepted: []*respki.Certificate{{Crt: root.Crt}}, Endpoints: []string{endpoint}, Log: slog.New(slog.NewTextHandler(io.Discard, nil)),
	}
}

func TestWorkerGetsItsCertificate(t *testing.T) {
	t.Parallel()

	st, root := controlPlane(t)
	request := pki.Request{CommonName: "worker-1", IPs: []netip.Addr{netip.MustParseAddr("10.5.0.5")}, DNSNames: []string{"worker-1"}, Usage: pki.Server}

	// One endpoint that is down must not cost the answer of the other.
	s := signer(serve(t, st), root, token)
	s.Endpoints = append(s.Endpoints, "127.0.0.1:1")

	pair, err := s.Issue(t.Context(), request, time.Now())
	if err != nil {
		t.Fatal(err)
	}

	if _, err := tls.X509KeyPair(pair.Crt, pair.Key); err != nil {
		t.Error(err)
	}

	cert, err := keys.ParseCertificate(pair.Crt)
	if err != nil {
		t.Fatal(err)
	}

	if err := cert.VerifyHostname("10.5.0.5"); err != nil {
		t.Error(err)
	}
}

// The messages are what an operator finds in a worker's log.
func TestRefusals(t *testing.T) {
	t.Parallel()

	st, root := controlPlane(t)
	_, otherRoot := controlPlane(t)
	endpoint := serve(t, st)
	worker := pki.Request{CommonName: "worker-1", DNSNames: []string{"worker-1"}}

	var lines []string

	for _, test := range []struct {
		name    string
		signer  *remote.Signer
		request pki.Request
	}{
		{"wrong token", signer(endpoint, root, "wrong"), worker},
		{"empty token", signer(endpoint, root, ""), worker},
		{"other CA", signer(endpoint, otherRoot, token), worker},
		{"nobody there", signer("127.0.0.1:1", root, token), worker},
		{"no endpoint", &remote.Signer{}, worker},
		{"no names", signer(endpoint, root, token), pki.Request{CommonName: "worker-1"}},
		{"its control plane", signer(endpoint, root, token), names("cp-1")},
		{"its address", signer(endpoint, root, token), addresses("10.5.0.5", "10.5.0.2")},
		{"another control plane", signer(endpoint, root, token), names("worker-1", "CP-2.")},
		{"another's address", signer(endpoint, root, token), addresses("10.5.0.5", "fd00::3")},
		{"mapped", signer(endpoint, root, token), addresses("::ffff:10.5.0.3")},
		{"the endpoint", signer(endpoint, root, token), names("api.example.org")},
		{"as its common name", signer(endpoint, root, token), pki.Request{CommonName: "api.example.org", DNSNames: []string{"worker-1"}}},
		{"the endpoint and more", signer(endpoint, root, token), names("*.example.org")},
		{"the shared address", signer(endpoint, root, token), addresses("10.5.0.100")},
		{"another worker's address", signer(endpoint, root, token), addresses("10.5.0.6")},
		{"localhost", signer(endpoint, root, token), names("a.localhost")},
		{"loopback", signer(endpoint, root, token), addresses("127.0.0.1")},
	} {
		_, err := test.signer.Issue(t.Context(), test.request, time.Now())
		if err == nil {
			t.Errorf("%s: not refused", test.name)

			continue
		}

		text := strings.ReplaceAll(err.Error(), endpoint, "CONTROLPLANE:50001")
		lines = append(lines, test.name+": "+text)
	}

	kittest.Golden(t, "refusals.golden", []byte(strings.Join(lines, "\n")+"\n"))
}

func names(list ...string) pki.Request { return pki.Request{CommonName: "worker-1", DNSNames: list} }

func addresses(list ...string) pki.Request {
	request := pki.Request{CommonName: "worker-1"}
	for _, text := range list {
		request.IPs = append(request.IPs, netip.MustParseAddr(text))
	}

	return request
}

func TestCallWithoutToken(t *testing.T) {
	t.Parallel()

	st, root := controlPlane(t)
	endpoint := serve(t, st)

	pool, err := pki.Pool(root.Crt)
	if err != nil {
		t.Fatal(err)
	}

	call := func(creds credentials.TransportCredentials, md ...string) error {
		conn, err := grpc.NewClient(endpoint, grpc.WithTransportCredentials(creds))
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()

		_, err = securityapi.NewSecurityServiceClient(conn).Certificate(
			metadata.AppendToOutgoingContext(t.Context(), md...), &securityapi.CertificateRequest{Csr: []byte("x")})

		return err
	}

	tlsCreds := credentials.NewTLS(&tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS13})

	for name, test := range map[string]struct {
		err  error
		want string
	}{
		"no token":   {call(tlsCreds), "rpc error: code = Unauthenticated desc = the call carries no machine token"},
		"two tokens": {call(tlsCreds, "token", token, "token", token), "rpc error: code = Unauthenticated desc = wrong machine token: machine.token must be the same on all machines of a cluster"},
		"not a CSR":  {call(tlsCreds, "token", token), "rpc error: code = InvalidArgument desc = no PEM block in the signing request"},
	} {
		if test.err == nil || test.err.Error() != test.want {
			t.Errorf("%s: got %v, want %s", name, test.err, test.want)
		}
	}

	if err := call(insecure.NewCredentials(), "token", token); err == nil {
		t.Error("answered without TLS")
	}
}

// A worker holds no trustd certificate and no key: its port ends every handshake.
func TestWorkerDoesNotSign(t *testing.T) {
	t.Parallel()

	st, root := controlPlane(t)
	if err := st.Destroy(t.Context(), secrets.NewTrustdCerts(secrets.NamespaceName, secrets.TrustdID).Metadata()); err != nil {
		t.Fatal(err)
	}

	start := time.Now()
	if _, err := signer(serve(t, st), root, token).Issue(t.Context(), pki.Request{DNSNames: []string{"x"}}, time.Now()); err == nil {
		t.Error("a worker signed")
	}

	if took := time.Since(start); took > 2*time.Second {
		t.Errorf("refusing took %s", took)
	}
}

func TestCheckRequest(t *testing.T) {
	t.Parallel()

	others := service.Others{
		ControlPlane: []service.Host{{Name: "10.5.0.2", Whose: "this control plane"}},
		Workers:      map[netip.Addr]string{netip.MustParseAddr("10.5.0.6"): "worker-2"},
	}

	for _, test := range []struct {
		name, from, want string
		request          pki.Request
	}{
		{"own address", "10.5.0.5", "", addresses("10.5.0.5")},
		{"several of them", "fd00::5", "", addresses("10.5.0.5", "10.6.0.5", "fd00::5")},
		{"not its own", "10.5.0.5", "does not name 10.5.0.5, the address that it comes from", addresses("10.5.0.7")},
		{"names only", "10.5.0.5", "does not name 10.5.0.5", names("worker-1")},
		{"one that is not known", "::", "does not name ::", addresses("10.5.0.5")},
		{"the control plane's too", "10.5.0.5", `"10.5.0.2" belongs to this control plane`, addresses("10.5.0.5", "10.5.0.2")},
		{"another's too", "10.5.0.5", "10.5.0.6 belongs to the member worker-2", addresses("10.5.0.5", "10.5.0.6")},
		{"nothing", "10.5.0.5", "names no address and no name", names()},
		{"too many", "10.5.0.5", "the request has 300 addresses and names, 256 at most", pki.Request{IPs: make300()}},
	} {
		csrPEM, _, err := pki.NewCSR(test.request)
		if err != nil {
			t.Fatal(err)
		}

		csr, err := pki.ParseCSR(csrPEM)
		if err != nil {
			t.Fatal(err)
		}

		var got string
		if err := service.CheckRequest(csr, netip.MustParseAddr(test.from), others); err != nil {
			got = err.Error()
		}

		if (got == "") != (test.want == "") || !strings.Contains(got, test.want) {
			t.Errorf("%s: got %q, want %q", test.name, got, test.want)
		}
	}
}

// TestNothingIsSignedInTheDark: a control plane that cannot ask who is a member does not sign.
func TestNothingIsSignedInTheDark(t *testing.T) {
	t.Parallel()

	st, root := controlPlane(t)
	if err := st.Destroy(t.Context(), configres.NewMachineConfig(configres.NamespaceName, configres.ActiveID).Metadata()); err != nil {
		t.Fatal(err)
	}

	_, err := signer(serve(t, st), root, token).Issue(t.Context(), names("worker-1"), time.Now())
	if err == nil || !strings.Contains(err.Error(), "not known yet") {
		t.Errorf("%v", err)
	}
}

func make300() []netip.Addr {
	list, addr := []netip.Addr{}, netip.MustParseAddr("10.6.0.1")
	for range 300 {
		list = append(list, addr)
		addr = addr.Next()
	}

	return list
}
