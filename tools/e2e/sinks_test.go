package e2e

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"

	"github.com/dactyl-os/dactyl/proto/events"
	"github.com/dactyl-os/dactyl/proto/machine"
	"github.com/dactyl-os/dactyl/services/kit/kittest"
	"github.com/dactyl-os/dactyl/tools/internal/outside"
)

// host is this machine's address in the cluster's network.
const host = "10.77.0.1"

// TestReceiversAndRoots: documents that name receivers and authorities do what they say, are resources, and nothing is left of them
// when they go.
func TestReceiversAndRoots(t *testing.T) {
	before := storedConfig(t, worker)
	restore(t, worker, before)

	log, kernel := listenFor(t), make(chan string, 1024)
	go lines(log, kernel)

	sink, told := listenFor(t), make(chan string, 1024)
	server := grpc.NewServer()
	server.RegisterService(sinkService(told), nil)

	go server.Serve(sink) //nolint:errcheck // it ends with the test

	t.Cleanup(server.Stop)

	url, root := privateServer(t)
	documents := fmt.Sprintf("---\napiVersion: v1alpha1\nkind: KmsgLogConfig\nname: a\nurl: tcp://%s\n"+
		"---\napiVersion: v1alpha1\nkind: EventSinkConfig\nendpoint: %s\n"+
		"---\napiVersion: v1alpha1\nkind: TrustedRootsConfig\nname: private\ncertificates: |\n    %s\n",
		log.Addr(), sink.Addr(), strings.ReplaceAll(strings.TrimSpace(root), "\n", "\n    "))

	if err := apply(t, worker, before+documents, machine.ApplyConfigurationRequest_NO_REBOOT, 0); err != nil {
		t.Fatal(err)
	}

	begin := time.Now()

	trusts(t, url, true)

	if took := time.Since(begin); took > 5*time.Second {
		t.Errorf("the authority was trusted after %s", took)
	}

	hear(t, kernel, `"talos-level":`)
	hear(t, told, "talos/runtime/machine.ServiceStateEvent")
	ctl(t, "-n", worker, "service", "timed", "restart")
	hear(t, told, "talos/runtime/machine.ServiceStateEvent")

	for typ, want := range map[string]string{
		"kmsglogconfigs": log.Addr().String(), "eventsinkconfigs": sink.Addr().String(), "etcfilestatus": "ssl/certs/ca-certificates.crt",
	} {
		if out := ctl(t, "-n", worker, "get", typ, "-o", "yaml"); !strings.Contains(out, want) {
			t.Errorf("%s lack %s:\n%s", typ, want, out)
		}
	}

	if err := apply(t, worker, before, machine.ApplyConfigurationRequest_NO_REBOOT, 0); err != nil {
		t.Fatal(err)
	}

	trusts(t, url, false)
	kittest.AwaitNoError(t, time.Minute, func() error {
		for _, typ := range []string{"kmsglogconfigs", "eventsinkconfigs", "etcfilespecs"} {
			if out := ctl(t, "-n", worker, "get", typ, "-o", "yaml"); strings.Contains(out, host) || strings.Contains(out, "ca-certificates") {
				return fmt.Errorf("%s are still there:\n%s", typ, out)
			}
		}

		return nil
	})
}

func listenFor(t *testing.T) net.Listener {
	t.Helper()

	listener, err := net.Listen("tcp", host+":0")
	if err != nil {
		t.Fatal(err)
	}

	t.Cleanup(func() { listener.Close() })

	return listener
}

func lines(listener net.Listener, to chan<- string) {
	for {
		conn, err := listener.Accept()
		if err != nil {
			return
		}

		for scanner := bufio.NewScanner(conn); scanner.Scan(); {
			offer(to, scanner.Text())
		}
	}
}

// offer drops what nobody has asked for in time.
func offer(to chan<- string, text string) {
	select {
	case to <- text:
	default:
	}
}

func sinkService(to chan<- string) *grpc.ServiceDesc {
	publish := func(_ any, _ context.Context, decode func(any) error, _ grpc.UnaryServerInterceptor) (any, error) {
		var in events.EventRequest
		if err := decode(&in); err != nil {
			return nil, err
		}

		offer(to, in.GetData().GetTypeUrl())

		return &events.EventResponse{}, nil
	}

	return &grpc.ServiceDesc{
		ServiceName: "events.EventSinkService", HandlerType: (*any)(nil), Methods: []grpc.MethodDesc{{MethodName: "Publish", Handler: publish}},
	}
}

func hear(t *testing.T, from <-chan string, want string) {
	t.Helper()

	for late := time.After(time.Minute); ; {
		select {
		case text := <-from:
			if strings.Contains(text, want) {
				return
			}
		case <-late:
			t.Errorf("nobody said %s", want)

			return
		}
	}
}

// privateServer answers with a certificate that only its own authority signed.
func privateServer(t *testing.T) (url, root string) {
	t.Helper()

	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}

	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "private"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature, IPAddresses: []net.IP{net.ParseIP(host)},
	}

	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}

	server := httptest.NewUnstartedServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	server.Listener.Close()
	server.Listener = listenFor(t)
	server.TLS = &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}, MinVersion: tls.VersionTLS12}
	server.StartTLS()
	t.Cleanup(server.Close)

	return server.URL, string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
}

// trusts waits until curl with the node's bundle takes the server, or refuses it.
func trusts(t *testing.T, url string, want bool) {
	t.Helper()

	bundle := filepath.Join(t.TempDir(), "bundle")

	kittest.AwaitNoError(t, 30*time.Second, func() error {
		text := ctl(t, "-n", worker, "read", "/etc/ssl/certs/ca-certificates.crt")
		if err := os.WriteFile(bundle, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}

		if r := outside.Run(t.Context(), "curl", "-sS", "--cacert", bundle, url); (r.Err == nil) != want {
			return fmt.Errorf("%s, want it trusted: %v", r, want)
		}

		return nil
	})
}
