// Package pki makes certificates: authorities, what they issue, requests. It is pure: the clock is passed in, and nothing is
// written.
package pki

import (
	"crypto"
	"crypto/x509"
	"encoding/pem"
	"fmt"

	keys "github.com/dactyl-os/dactyl/proto/config/pki"
)

// Pair is a certificate and its key, both PEM.
type Pair = keys.Pair

// newKey makes a private key and its PEM form, which openssl reads too: PKCS#8 for ed25519 under the usual name, SEC 1 (RFC
// 5915) for ECDSA.
func newKey(algorithm keys.Algorithm) (crypto.Signer, []byte, error) {
	key, err := keys.NewKey(algorithm)
	if err != nil {
		return nil, nil, fmt.Errorf("generate key: %w", err)
	}

	if algorithm != keys.Ed25519 {
		text, err := keys.EncodeKey(key)

		return key, text, err
	}

	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, nil, fmt.Errorf("encode key: %w", err)
	}

	return key, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), nil
}

// Matches reports that the key belongs to the certificate.
func Matches(cert *x509.Certificate, key crypto.Signer) bool {
	public, ok := cert.PublicKey.(interface{ Equal(crypto.PublicKey) bool })

	return ok && public.Equal(key.Public())
}
