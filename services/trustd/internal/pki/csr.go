package pki

import (
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"net/netip"
	"time"

	keys "github.com/dactyl-os/dactyl/proto/config/pki"
)

// NewCSR makes a key and a signing request for it, both PEM.
func NewCSR(request Request) (csr, key []byte, err error) {
	signer, keyPEM, err := newKey(request.Algorithm)
	if err != nil {
		return nil, nil, err
	}

	der, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{
		Subject:     pkix.Name{CommonName: request.CommonName, Organization: request.Organization},
		IPAddresses: keys.IPs(plain(request.IPs)),
		DNSNames:    request.DNSNames,
	}, signer)
	if err != nil {
		return nil, nil, fmt.Errorf("sign request: %w", err)
	}

	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: der}), keyPEM, nil
}

// ParseCSR reads a PEM signing request and checks its signature.
func ParseCSR(data []byte) (*x509.CertificateRequest, error) {
	block, _ := pem.Decode(data)
	if block == nil {
		return nil, errors.New("no PEM block in the signing request")
	}

	if block.Type != "CERTIFICATE REQUEST" {
		return nil, fmt.Errorf("a PEM block %q where a signing request is expected", block.Type)
	}

	csr, err := x509.ParseCertificateRequest(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("parse signing request: %w", err)
	}

	if err := csr.CheckSignature(); err != nil {
		return nil, fmt.Errorf("check signature of the signing request: %w", err)
	}

	return csr, nil
}

// SignServer signs a request for a server certificate. What the requester
// wrote about organization, usages and other extensions is left out: the
// organization of a client certificate is its role.
func (a *Authority) SignServer(csr *x509.CertificateRequest, now time.Time) ([]byte, error) {
	request := Request{
		CommonName: csr.Subject.CommonName,
		DNSNames:   csr.DNSNames,
		Usage:      Server,
	}

	for _, ip := range csr.IPAddresses {
		if addr, ok := netip.AddrFromSlice(ip); ok {
			request.IPs = append(request.IPs, addr.Unmap())
		}
	}

	return a.sign(request, csr.PublicKey, now)
}
