package pki_test

import (
	"crypto"
	"encoding/pem"
	"strings"
	"testing"
	"time"

	"github.com/dactyl-os/dactyl/proto/config/pki"
)

// TestKeyForms: v1.8 and openssl name the same bytes differently.
func TestKeyForms(t *testing.T) {
	for _, algorithm := range []pki.Algorithm{pki.Ed25519, pki.ECDSAP256} {
		key, err := pki.NewKey(algorithm)
		if err != nil {
			t.Fatal(err)
		}

		text, err := pki.EncodeKey(key)
		if err != nil {
			t.Fatal(err)
		}

		block, _ := pem.Decode(text)

		for _, name := range []string{block.Type, "PRIVATE KEY"} {
			block.Type = name

			if again, err := pki.ParseKey(pem.EncodeToMemory(block)); err != nil || !key.Public().(interface{ Equal(crypto.PublicKey) bool }).Equal(again.Public()) {
				t.Errorf("%s: %v", name, err)
			}
		}
	}
}

func TestRefused(t *testing.T) {
	pair, err := pki.NewCA(pki.Ed25519, pki.Subject{CommonName: "ca", NotBefore: time.Now(), TTL: time.Hour})
	if err != nil {
		t.Fatal(err)
	}

	for name, test := range map[string]struct {
		parse func() error
		want  string
	}{
		"a certificate for a key": {func() error { _, err := pki.ParseKey(pair.Crt); return err }, `"CERTIFICATE"`},
		"a key for a certificate": {func() error { _, err := pki.ParseCertificate(pair.Key); return err }, `"ED25519 PRIVATE KEY"`},
		"a key after a certificate": {
			func() error { _, err := pki.ParseCertificates(append(pair.Crt, pair.Key...)); return err }, `"ED25519 PRIVATE KEY"`,
		},
		"nothing": {func() error { _, err := pki.ParseCertificates(nil); return err }, "not a PEM certificate"},
		"no PEM":  {func() error { _, err := pki.ParseKey([]byte("key")); return err }, "not PEM"},
	} {
		if err := test.parse(); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: %v, want %s", name, err, test.want)
		}
	}

	if certs, err := pki.ParseCertificates(append(pair.Crt, pair.Crt...)); err != nil || len(certs) != 2 {
		t.Errorf("two certificates: %d, %v", len(certs), err)
	}
}
