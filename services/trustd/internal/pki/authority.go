package pki

import (
	"crypto"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"math/big"
	"net"
	"net/netip"
	"time"

	keys "github.com/dactyl-os/dactyl/proto/config/pki"
)

// Validity of what is issued, as the contract has it.
const (
	LeafValidity = 365 * 24 * time.Hour
	CAValidity   = 10 * LeafValidity
)

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

// NewAuthority makes a self-signed CA.
func NewAuthority(organization string, algorithm keys.Algorithm, now time.Time) (Pair, error) {
	key, keyPEM, err := newKey(algorithm)
	if err != nil {
		return Pair{}, err
	}

	template, err := Request{Organization: []string{organization}, Validity: CAValidity}.template(now)
	if err != nil {
		return Pair{}, err
	}

	template.IsCA = true
	template.BasicConstraintsValid = true
	template.KeyUsage |= x509.KeyUsageCertSign
	template.SubjectKeyId = keyID(key)

	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return Pair{}, fmt.Errorf("sign certificate: %w", err)
	}

	return Pair{Crt: keys.EncodeCertificate(der), Key: keyPEM}, nil
}

// keyID makes issuers distinguishable that share a subject, as an old and a
// new CA do during a rotation.
func keyID(key crypto.Signer) []byte {
	der, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		return nil
	}

	sum := sha256.Sum256(der)

	return sum[:20]
}

func (r Request) template(now time.Time) (*x509.Certificate, error) {
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
	if err != nil {
		return nil, fmt.Errorf("make serial number: %w", err)
	}

	validity := r.Validity
	if validity == 0 {
		validity = LeafValidity
	}

	return &x509.Certificate{
		SerialNumber:          serial,
		Subject:               pkix.Name{CommonName: r.CommonName, Organization: r.Organization},
		NotBefore:             now.Add(-backdate),
		NotAfter:              now.Add(validity),
		KeyUsage:              x509.KeyUsageDigitalSignature,
		ExtKeyUsage:           r.Usage.extended(),
		BasicConstraintsValid: true,
		IPAddresses:           netIPs(r.IPs),
		DNSNames:              r.DNSNames,
	}, nil
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

func netIPs(addrs []netip.Addr) []net.IP {
	ips := make([]net.IP, 0, len(addrs))

	for _, addr := range addrs {
		ips = append(ips, addr.Unmap().WithZone("").AsSlice())
	}

	return ips
}
