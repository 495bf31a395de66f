// Package pki makes and reads keys and certificates. It is pure: the clock is
// passed in, and nothing is written.
package pki

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"strings"
)

// Algorithm is the kind of key to make.
type Algorithm int

// The OS speaks ed25519; etcd and Kubernetes get P-256, which all their clients know.
const (
	Ed25519 Algorithm = iota
	ECDSAP256
)

// Pair is a certificate and its key, both PEM.
type Pair struct {
	Crt []byte `yaml:"crt"`
	Key []byte `yaml:"key"`
}

// Empty reports that there is no certificate.
func (p Pair) Empty() bool { return len(p.Crt) == 0 }

// Equal compares the bytes of both halves.
func (p Pair) Equal(other Pair) bool {
	return bytes.Equal(p.Crt, other.Crt) && bytes.Equal(p.Key, other.Key)
}

// NewKey makes a private key and its PEM form: PKCS#8 for ed25519 and SEC 1
// (RFC 5915) for ECDSA, the forms that Go, openssl and etcd all read.
func NewKey(algorithm Algorithm) (crypto.Signer, []byte, error) {
	if algorithm == ECDSAP256 {
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			return nil, nil, fmt.Errorf("generate key: %w", err)
		}

		der, err := x509.MarshalECPrivateKey(key)
		if err != nil {
			return nil, nil, fmt.Errorf("encode key: %w", err)
		}

		return key, pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: der}), nil
	}

	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, nil, fmt.Errorf("generate key: %w", err)
	}

	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, nil, fmt.Errorf("encode key: %w", err)
	}

	return key, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), nil
}

// ParseKey reads a PEM private key. The PEM type is only a hint: v1.8 writes
// PKCS#8 under "ED25519 PRIVATE KEY", others under "PRIVATE KEY".
func ParseKey(data []byte) (crypto.Signer, error) {
	block, _ := pem.Decode(data)
	if block == nil {
		return nil, errors.New("no PEM block in the key")
	}

	if !strings.HasSuffix(block.Type, "PRIVATE KEY") {
		return nil, fmt.Errorf("a PEM block %q where a private key is expected", block.Type)
	}

	if key, err := x509.ParseECPrivateKey(block.Bytes); err == nil {
		return key, nil
	}

	if key, err := x509.ParsePKCS1PrivateKey(block.Bytes); err == nil {
		return key, nil
	}

	key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("parse key: %w", err)
	}

	signer, ok := key.(crypto.Signer)
	if !ok {
		return nil, fmt.Errorf("a key of type %T cannot sign", key)
	}

	return signer, nil
}

// ParseCertificate reads the first certificate of PEM data.
func ParseCertificate(data []byte) (*x509.Certificate, error) {
	certs, err := ParseCertificates(data)
	if err != nil {
		return nil, err
	}

	return certs[0], nil
}

// ParseCertificates reads every certificate of PEM data; none is an error.
func ParseCertificates(data []byte) ([]*x509.Certificate, error) {
	var certs []*x509.Certificate

	for rest := data; ; {
		var block *pem.Block

		block, rest = pem.Decode(rest)
		if block == nil {
			break
		}

		if block.Type != "CERTIFICATE" {
			return nil, fmt.Errorf("a PEM block %q where a certificate is expected", block.Type)
		}

		cert, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("parse certificate: %w", err)
		}

		certs = append(certs, cert)
	}

	if len(certs) == 0 {
		return nil, errors.New("no PEM block in the certificate")
	}

	return certs, nil
}

// EncodeCertificate is the PEM form of DER bytes.
func EncodeCertificate(der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
}

// Matches reports that the key belongs to the certificate.
func Matches(cert *x509.Certificate, key crypto.Signer) bool {
	public, ok := cert.PublicKey.(interface{ Equal(crypto.PublicKey) bool })

	return ok && public.Equal(key.Public())
}
