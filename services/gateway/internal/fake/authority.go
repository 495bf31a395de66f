package fake

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"testing"
	"time"
)

// Authority signs certificates of a test.
type Authority struct {
	PEM []byte

	certificate *x509.Certificate
	key         ed25519.PrivateKey
}

// Pair is a certificate with its key in PEM.
type Pair struct{ Crt, Key []byte }

// TLS gives the pair as crypto/tls takes it.
func (p Pair) TLS(t testing.TB) tls.Certificate {
	t.Helper()

	certificate, err := tls.X509KeyPair(p.Crt, p.Key)
	if err != nil {
		t.Fatal(err)
	}

	return certificate
}

// NewAuthority makes a self-signed authority.
func NewAuthority(t testing.TB) *Authority {
	t.Helper()

	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}

	template := &x509.Certificate{
		SerialNumber: serial(t), Subject: pkix.Name{Organization: []string{"test"}},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}

	der, err := x509.CreateCertificate(rand.Reader, template, template, public, private)
	if err != nil {
		t.Fatal(err)
	}

	certificate, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}

	return &Authority{PEM: encode("CERTIFICATE", der), certificate: certificate, key: private}
}

// Pool gives the authority as the root of a client.
func (a *Authority) Pool() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(a.certificate)

	return pool
}

// Client signs a client certificate with roles.
func (a *Authority) Client(t testing.TB, roles ...string) Pair {
	t.Helper()

	return a.Sign(t, &x509.Certificate{
		Subject: pkix.Name{Organization: roles}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	})
}

// Server signs a server certificate for addresses.
func (a *Authority) Server(t testing.TB, addresses ...string) Pair {
	t.Helper()

	template := &x509.Certificate{ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}}

	for _, address := range addresses {
		if ip := net.ParseIP(address); ip != nil {
			template.IPAddresses = append(template.IPAddresses, ip)
		} else {
			template.DNSNames = append(template.DNSNames, address)
		}
	}

	return a.Sign(t, template)
}

// Sign signs a certificate; its validity is set when the template has none.
func (a *Authority) Sign(t testing.TB, template *x509.Certificate) Pair {
	t.Helper()

	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}

	template.SerialNumber = serial(t)
	template.KeyUsage = x509.KeyUsageDigitalSignature

	if template.NotAfter.IsZero() {
		template.NotBefore, template.NotAfter = time.Now().Add(-time.Hour), time.Now().Add(time.Hour)
	}

	der, err := x509.CreateCertificate(rand.Reader, template, a.certificate, public, a.key)
	if err != nil {
		t.Fatal(err)
	}

	key, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}

	return Pair{Crt: encode("CERTIFICATE", der), Key: encode("PRIVATE KEY", key)}
}

func serial(t testing.TB) *big.Int {
	t.Helper()

	number, err := rand.Int(rand.Reader, big.NewInt(1<<62))
	if err != nil {
		t.Fatal(err)
	}

	return number
}

func encode(kind string, der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})
}
