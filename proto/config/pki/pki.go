// Package pki makes and reads the keys and certificates that machine and client configurations hold, all in PEM.
package pki

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"net/netip"
	"strings"
	"time"
)

// Algorithm is a kind of key.
type Algorithm int

// The algorithms.
const (
	Ed25519 Algorithm = iota
	ECDSAP256
	RSA4096
)

// Pair is a certificate and its key in PEM.
type Pair struct{ Crt, Key []byte }

// Empty reports that there is no certificate.
func (p Pair) Empty() bool { return len(p.Crt) == 0 }

// Equal compares the bytes of both halves.
func (p Pair) Equal(other Pair) bool {
	return bytes.Equal(p.Crt, other.Crt) && bytes.Equal(p.Key, other.Key)
}

// NewKey makes a private key.
func NewKey(algorithm Algorithm) (crypto.Signer, error) {
	switch algorithm {
	case ECDSAP256:
		return ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	case RSA4096:
		return rsa.GenerateKey(rand.Reader, 4096)
	default:
		_, key, err := ed25519.GenerateKey(rand.Reader)

		return key, err
	}
}

// EncodeKey writes a private key; the block types are those that v1.8 clients read.
func EncodeKey(key crypto.Signer) ([]byte, error) {
	var (
		block = pem.Block{Type: "PRIVATE KEY"}
		err   error
	)

	switch key := key.(type) {
	case ed25519.PrivateKey:
		block.Type = "ED25519 PRIVATE KEY"
		block.Bytes, err = x509.MarshalPKCS8PrivateKey(key)
	case *ecdsa.PrivateKey:
		block.Type = "EC PRIVATE KEY"
		block.Bytes, err = x509.MarshalECPrivateKey(key)
	case *rsa.PrivateKey:
		block.Type, block.Bytes = "RSA PRIVATE KEY", x509.MarshalPKCS1PrivateKey(key)
	default:
		block.Bytes, err = x509.MarshalPKCS8PrivateKey(key)
	}

	if err != nil {
		return nil, fmt.Errorf("encode private key: %w", err)
	}

	return pem.EncodeToMemory(&block), nil
}

// ParseKey reads a private key of any of the usual encodings. The PEM type is only a hint: v1.8 writes PKCS#8 under "ED25519
// PRIVATE KEY", others under "PRIVATE KEY".
func ParseKey(data []byte) (crypto.Signer, error) {
	block, _ := pem.Decode(data)
	if block == nil {
		return nil, errors.New("parse private key: not PEM")
	}

	if !strings.HasSuffix(block.Type, "PRIVATE KEY") {
		return nil, fmt.Errorf("parse private key: the PEM block is a %q", block.Type)
	}

	if key, err := x509.ParseECPrivateKey(block.Bytes); err == nil {
		return key, nil
	}

	if key, err := x509.ParsePKCS1PrivateKey(block.Bytes); err == nil {
		return key, nil
	}

	key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("parse private key: %w", err)
	}

	signer, ok := key.(crypto.Signer)
	if !ok {
		return nil, fmt.Errorf("parse private key: %T cannot sign", key)
	}

	return signer, nil
}

// ParseCertificate reads the first certificate. What follows has to be certificates, too.
func ParseCertificate(data []byte) (*x509.Certificate, error) {
	certs, err := ParseCertificates(data)
	if err != nil {
		return nil, err
	}

	return certs[0], nil
}

// ParseCertificates reads every certificate; none is an error.
func ParseCertificates(data []byte) ([]*x509.Certificate, error) {
	var certs []*x509.Certificate

	for block, rest := pem.Decode(data); block != nil; block, rest = pem.Decode(rest) {
		if block.Type != "CERTIFICATE" {
			return nil, fmt.Errorf("parse certificate: the PEM block is a %q", block.Type)
		}

		cert, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("parse certificate: %w", err)
		}

		certs = append(certs, cert)
	}

	if len(certs) == 0 {
		return nil, errors.New("parse certificate: not a PEM certificate")
	}

	return certs, nil
}

// EncodeCertificate is the PEM form of DER bytes.
func EncodeCertificate(der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
}

// Subject is what a certificate says.
type Subject struct {
	CommonName   string
	Organization []string // the roles, for clients of the OS API
	DNSNames     []string
	Addresses    []netip.Addr
	Usages       []x509.ExtKeyUsage
	NotBefore    time.Time
	TTL          time.Duration
}

// NewCA makes a self-signed certificate authority.
func NewCA(algorithm Algorithm, subject Subject) (Pair, error) {
	key, err := NewKey(algorithm)
	if err != nil {
		return Pair{}, fmt.Errorf("make key: %w", err)
	}

	template, err := subject.Template()
	if err != nil {
		return Pair{}, err
	}

	template.IsCA = true
	template.KeyUsage = x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign | x509.KeyUsageCRLSign
	template.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}

	return sign(template, template, key, key)
}

// Issue makes a key and has the authority certify it.
func Issue(ca Pair, algorithm Algorithm, subject Subject) (Pair, error) {
	key, err := NewKey(algorithm)
	if err != nil {
		return Pair{}, fmt.Errorf("make key: %w", err)
	}

	authority, err := ParseCertificate(ca.Crt)
	if err != nil {
		return Pair{}, fmt.Errorf("certificate authority: %w", err)
	}

	authorityKey, err := ParseKey(ca.Key)
	if err != nil {
		return Pair{}, fmt.Errorf("certificate authority: %w", err)
	}

	template, err := subject.Template()
	if err != nil {
		return Pair{}, err
	}

	return sign(template, authority, key, authorityKey)
}

// Template is the certificate before it is signed, with a serial number of its own.
func (s Subject) Template() (*x509.Certificate, error) {
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
	if err != nil {
		return nil, fmt.Errorf("make serial number: %w", err)
	}

	return &x509.Certificate{
		SerialNumber: serial,
		Subject:      pkix.Name{CommonName: s.CommonName, Organization: s.Organization},
		DNSNames:     s.DNSNames,
		NotBefore:    s.NotBefore,
		NotAfter:     s.NotBefore.Add(s.TTL),
		KeyUsage:     x509.KeyUsageDigitalSignature,
		ExtKeyUsage:  s.Usages,
		IPAddresses:  IPs(s.Addresses),

		BasicConstraintsValid: true,
	}, nil
}

// IPs are addresses as x509 has them.
func IPs(addrs []netip.Addr) []net.IP {
	ips := make([]net.IP, len(addrs))
	for i, addr := range addrs {
		ips[i] = addr.AsSlice()
	}

	return ips
}

func sign(template, parent *x509.Certificate, key, parentKey crypto.Signer) (Pair, error) {
	der, err := x509.CreateCertificate(rand.Reader, template, parent, key.Public(), parentKey)
	if err != nil {
		return Pair{}, fmt.Errorf("sign certificate: %w", err)
	}

	encoded, err := EncodeKey(key)
	if err != nil {
		return Pair{}, err
	}

	return Pair{Crt: EncodeCertificate(der), Key: encoded}, nil
}
