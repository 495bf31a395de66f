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

	"github.com/cosi-project/runtime/pkg/state"
	"github.com/cosi-project/runtime/pkg/state/impl/inmem"
	"github.com/cosi-project/runtime/pkg/state/impl/namespaced"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"

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

// controlPlane is a state as a control plane's trustd has it.
func controlPlane(t *testing.T) (state.State, pki.Pair) {
	t.Helper()

	now := time.Now()

	root, err := pki.NewAuthority("talos", pki.Ed25519, now)
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

	for _, r := range []interface{}{osRoot, certs} {
		switch r := r.(type) {
		case *secrets.OSRoot:
			err = st.Create(t.Context(), r)
		case *secrets.TrustdCerts:
			err = st.Create(t.Context(), r)
		}

		if err != nil {
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
	security := &service.Security{Local: st, Log: slog.New(slog.NewTextHandler(io.Discard, nil)), Now: time.Now}

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

	cert, err := pki.ParseCertificate(pair.Crt)
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

	for _, test := range []struct {
		name, reached, want string
		ips                 []netip.Addr
	}{
		{"own address", "10.5.0.2", "", []netip.Addr{netip.MustParseAddr("10.5.0.5")}},
		{"the control plane's", "10.5.0.2", "the address 10.5.0.2 is this control plane's own", []netip.Addr{netip.MustParseAddr("10.5.0.5"), netip.MustParseAddr("10.5.0.2")}},
		{"through loopback", "127.0.0.1", "", loopback},
		{"nothing", "10.5.0.2", "the request names no address and no name: a server certificate needs one", nil},
		{"too many", "10.5.0.2", "the request has 300 addresses and names, 256 at most", make300()},
	} {
		csrPEM, _, err := pki.NewCSR(pki.Request{CommonName: "worker", IPs: test.ips})
		if err != nil {
			t.Fatal(err)
		}

		csr, err := pki.ParseCSR(csrPEM)
		if err != nil {
			t.Fatal(err)
		}

		var got string
		if err := service.CheckRequest(csr, netip.MustParseAddr(test.reached)); err != nil {
			got = err.Error()
		}

		if got != test.want {
			t.Errorf("%s: got %q, want %q", test.name, got, test.want)
		}
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
