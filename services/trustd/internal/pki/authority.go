package pki

import (
	"cmp"
	"crypto"
	"crypto/rand"
	"crypto/x509"
	"errors"
	"fmt"
	"net/netip"
	"time"

	keys "github.com/dactyl-os/dactyl/proto/config/pki"
)

// LeafValidity is that of what is issued, as the contract has it.
const LeafValidity = 365 * 24 * time.Hour

// backdate lets a peer whose clock is a little behind accept a fresh certificate.
const backdate = 5 * time.Minute

// Usage says what a certificate may be used for.
type Usage int

// Server and Client are bits; etcd's own certificates carry both.
const (
	Server Usage = 1 << iota
	Client
)

// Request describes a certificate to issue.
type Request struct {
	CommonName   string
	Organization []string
	IPs          []netip.Addr
	DNSNames     []string
	Usage        Usage
	Algorithm    keys.Algorithm
	Validity     time.Duration // zero: LeafValidity
}

// Authority is a CA certificate with or without its key: a worker has none.
type Authority struct {
	Cert *x509.Certificate
	PEM  []byte
	key  crypto.Signer
}

// LoadAuthority reads a CA. An empty key is allowed, a wrong one is not.
func LoadAuthority(pair Pair) (*Authority, error) {
	cert, err := keys.ParseCertificate(pair.Crt)
	if err != nil {
		return nil, err
	}

	if !cert.IsCA {
		return nil, fmt.Errorf("the certificate %q is not a CA", cert.Subject)
	}

	authority := &Authority{Cert: cert, PEM: keys.EncodeCertificate(cert.Raw)}

	if len(pair.Key) == 0 {
		return authority, nil
	}

	if authority.key, err = keys.ParseKey(pair.Key); err != nil {
		return nil, err
	}

	if !Matches(cert, authority.key) {
		return nil, errors.New("the key does not belong to the CA certificate")
	}

	return authority, nil
}

// CanIssue reports that the key of the CA is here.
func (a *Authority) CanIssue() bool { return a != nil && a.key != nil }

// Issue makes a key and a certificate for it.
func (a *Authority) Issue(request Request, now time.Time) (Pair, error) {
	key, keyPEM, err := newKey(request.Algorithm)
	if err != nil {
		return Pair{}, err
	}

	crt, err := a.sign(request, key.Public(), now)
	if err != nil {
		return Pair{}, err
	}

	return Pair{Crt: crt, Key: keyPEM}, nil
}

func (a *Authority) sign(request Request, public crypto.PublicKey, now time.Time) ([]byte, error) {
	if !a.CanIssue() {
		return nil, errors.New("the key of the CA is not on this machine")
	}

	template, err := request.template(now)
	if err != nil {
		return nil, err
	}

	// A certificate that outlives its CA would be refused anyway: say so in the certificate.
	if template.NotAfter.After(a.Cert.NotAfter) {
		template.NotAfter = a.Cert.NotAfter
	}

	der, err := x509.CreateCertificate(rand.Reader, template, a.Cert, public, a.key)
	if err != nil {
		return nil, fmt.Errorf("sign certificate: %w", err)
	}

	return keys.EncodeCertificate(der), nil
}

// SelfSigned makes a certificate that is its own issuer, for maintenance mode,
// with the given key or, when that is empty or unreadable, a new one.
func SelfSigned(request Request, keyPEM []byte, now time.Time) (Pair, error) {
	key, err := keys.ParseKey(keyPEM)
	if err != nil {
		if key, keyPEM, err = newKey(request.Algorithm); err != nil {
			return Pair{}, err
		}
	}

	template, err := request.template(now)
	if err != nil {
		return Pair{}, err
	}

	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return Pair{}, fmt.Errorf("sign certificate: %w", err)
	}

	return Pair{Crt: keys.EncodeCertificate(der), Key: keyPEM}, nil
}

func (r Request) template(now time.Time) (*x509.Certificate, error) {
	validity := cmp.Or(r.Validity, LeafValidity)

	return keys.Subject{
		CommonName: r.CommonName, Organization: r.Organization, DNSNames: r.DNSNames, Addresses: plain(r.IPs),
		Usages: r.Usage.extended(), NotBefore: now.Add(-backdate), TTL: backdate + validity,
	}.Template()
}

func (u Usage) extended() []x509.ExtKeyUsage {
	var usages []x509.ExtKeyUsage

	if u&Server != 0 {
		usages = append(usages, x509.ExtKeyUsageServerAuth)
	}

	if u&Client != 0 {
		usages = append(usages, x509.ExtKeyUsageClientAuth)
	}

	return usages
}

// plain are addresses without what only this machine knows of them.
func plain(addrs []netip.Addr) []netip.Addr {
	out := make([]netip.Addr, len(addrs))
	for i, addr := range addrs {
		out[i] = addr.Unmap().WithZone("")
	}

	return out
}
