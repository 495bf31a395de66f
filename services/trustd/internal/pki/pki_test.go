package pki_test

import (
	"bytes"
	"crypto/tls"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	keys "github.com/dactyl-os/dactyl/proto/config/pki"
	"github.com/dactyl-os/dactyl/services/trustd/internal/pki"
)

func write(t *testing.T, dir, name string, data []byte) string {
	t.Helper()

	path := filepath.Join(dir, name)
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}

	return path
}

func openssl(t *testing.T, args ...string) string {
	t.Helper()

	out, err := exec.Command("openssl", args...).CombinedOutput()
	if err != nil {
		t.Fatalf("openssl %s: %v\n%s", strings.Join(args, " "), err, out)
	}

	return string(out)
}

// What is issued must satisfy the tools of others, not only Go.
func TestOpenSSLAgrees(t *testing.T) {
	t.Parallel()

	for name, algorithm := range map[string]keys.Algorithm{"ed25519": keys.Ed25519, "ecdsa": keys.ECDSAP256} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()

			now, dir := time.Now(), t.TempDir()

			root, err := keys.NewCA(algorithm, keys.Subject{Organization: []string{"talos"}, NotBefore: now, TTL: 10 * pki.LeafValidity})
			if err != nil {
				t.Fatal(err)
			}

			ca, err := pki.LoadAuthority(root)
			if err != nil {
				t.Fatal(err)
			}

			leaf, err := ca.Issue(pki.Request{
				CommonName: "node-1", Usage: pki.Server | pki.Client, Algorithm: algorithm,
				IPs: []netip.Addr{netip.MustParseAddr("10.5.0.2"), netip.MustParseAddr("fd00::2")}, DNSNames: []string{"node-1"},
			}, now)
			if err != nil {
				t.Fatal(err)
			}

			if _, err := tls.X509KeyPair(leaf.Crt, leaf.Key); err != nil {
				t.Errorf("load with crypto/tls: %v", err)
			}

			caFile, crt, key := write(t, dir, "ca.crt", root.Crt), write(t, dir, "leaf.crt", leaf.Crt), write(t, dir, "leaf.key", leaf.Key)
			openssl(t, "verify", "-x509_strict", "-purpose", "sslserver", "-CAfile", caFile, crt)
			openssl(t, "verify", "-x509_strict", "-purpose", "sslclient", "-CAfile", caFile, crt)

			text := openssl(t, "x509", "-noout", "-text", "-in", crt)
			for _, want := range []string{"IP Address:10.5.0.2", "IP Address:FD00:0:0:0:0:0:0:2", "DNS:node-1", "CN = node-1", "CA:FALSE"} {
				if !strings.Contains(text, want) {
					t.Errorf("openssl does not see %q in\n%s", want, text)
				}
			}

			if openssl(t, "pkey", "-in", key, "-pubout") != openssl(t, "x509", "-noout", "-pubkey", "-in", crt) {
				t.Error("openssl reads another key than the certificate's")
			}
		})
	}
}

// v1.8 writes its keys under a PEM type of its own, ours are standard; both are read.
func TestSignServerKeepsOutRoles(t *testing.T) {
	t.Parallel()

	root, err := keys.NewCA(keys.Ed25519, keys.Subject{Organization: []string{"talos"}, NotBefore: time.Now(), TTL: 10 * pki.LeafValidity})
	if err != nil {
		t.Fatal(err)
	}

	ca, err := pki.LoadAuthority(root)
	if err != nil {
		t.Fatal(err)
	}

	csrPEM, _, err := pki.NewCSR(pki.Request{
		CommonName: "worker", Organization: []string{"os:admin"}, IPs: []netip.Addr{netip.MustParseAddr("10.5.0.5")}, DNSNames: []string{"worker"},
	})
	if err != nil {
		t.Fatal(err)
	}

	csr, err := pki.ParseCSR(csrPEM)
	if err != nil {
		t.Fatal(err)
	}

	crt, err := ca.SignServer(csr, time.Now())
	if err != nil {
		t.Fatal(err)
	}

	dir := t.TempDir()
	text := openssl(t, "x509", "-noout", "-text", "-in", write(t, dir, "crt", crt))

	if strings.Contains(text, "os:admin") || strings.Contains(text, "Client Authentication") {
		t.Errorf("a role came through a signing request:\n%s", text)
	}

	if !strings.Contains(text, "TLS Web Server Authentication") || !strings.Contains(text, "IP Address:10.5.0.5") {
		t.Errorf("not the server certificate asked for:\n%s", text)
	}
}

func TestLoadAuthorityErrors(t *testing.T) {
	t.Parallel()

	now := time.Now()
	root, _ := keys.NewCA(keys.Ed25519, keys.Subject{Organization: []string{"talos"}, NotBefore: now, TTL: 10 * pki.LeafValidity})
	second, _ := keys.NewCA(keys.Ed25519, keys.Subject{Organization: []string{"talos"}, NotBefore: now, TTL: 10 * pki.LeafValidity})
	ca, _ := pki.LoadAuthority(root)
	leaf, _ := ca.Issue(pki.Request{CommonName: "leaf"}, now)

	for _, test := range []struct {
		name string
		pair pki.Pair
		want string
	}{
		{"empty", pki.Pair{}, "parse certificate: not a PEM certificate"},
		{"not PEM", pki.Pair{Crt: []byte("hello")}, "parse certificate: not a PEM certificate"},
		{"key as certificate", pki.Pair{Crt: root.Key}, `parse certificate: the PEM block is a "ED25519 PRIVATE KEY"`},
		{"leaf", leaf, `the certificate "CN=leaf" is not a CA`},
		{"key of another", pki.Pair{Crt: root.Crt, Key: second.Key}, "the key does not belong to the CA certificate"},
		{"certificate as key", pki.Pair{Crt: root.Crt, Key: root.Crt}, `parse private key: the PEM block is a "CERTIFICATE"`},
	} {
		if _, err := pki.LoadAuthority(test.pair); err == nil || err.Error() != test.want {
			t.Errorf("%s: got %v, want %s", test.name, err, test.want)
		}
	}

	worker, err := pki.LoadAuthority(pki.Pair{Crt: root.Crt})
	if err != nil || worker.CanIssue() {
		t.Fatalf("a CA without key: %v", err)
	}

	if _, err := worker.Issue(pki.Request{}, now); err == nil || err.Error() != "the key of the CA is not on this machine" {
		t.Errorf("issue without a key: %v", err)
	}
}

func TestAccepted(t *testing.T) {
	t.Parallel()

	list := pki.Accepted([]byte("a\n"), []byte("b"), []byte("a"), nil, []byte("b\n\n"))
	if got := string(bytes.Join(list, []byte("|"))); got != "a\n|b\n" {
		t.Errorf("got %q", got)
	}
}

// FuzzParse: what arrives over the network as a signing request, or stands in
// a configuration as a certificate, never panics.
func FuzzParse(f *testing.F) {
	csr, key, err := pki.NewCSR(pki.Request{CommonName: "x", DNSNames: []string{"x"}})
	if err != nil {
		f.Fatal(err)
	}

	root, err := keys.NewCA(keys.ECDSAP256, keys.Subject{Organization: []string{"talos"}, NotBefore: time.Now(), TTL: 10 * pki.LeafValidity})
	if err != nil {
		f.Fatal(err)
	}

	for _, seed := range [][]byte{csr, key, root.Crt, root.Key, []byte("-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----\n")} {
		f.Add(seed)
	}

	f.Fuzz(func(_ *testing.T, data []byte) {
		_, _ = pki.ParseCSR(data)
		_, _ = keys.ParseKey(data)
		_, _ = keys.ParseCertificates(data)
		_, _ = pki.LoadAuthority(pki.Pair{Crt: data, Key: data})
	})
}
