// Package plan decides, without touching anything, whether a certificate that
// is there may be used and whether a new one is needed.
package plan

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/x509"
	"fmt"
	"slices"
	"time"

	keys "github.com/dactyl-os/dactyl/proto/config/pki"
	"github.com/dactyl-os/dactyl/services/trustd/internal/pki"
)

// clockSlack is how far a certificate may lie in the future before it counts
// as made under a wrong clock.
const clockSlack = time.Minute

// worthwhile is the least a renewal must add to the life of a certificate:
// near the end of its CA it could add nothing, and would be tried for ever.
const worthwhile = time.Hour

// Want describes the certificate that should be there.
type Want struct {
	Request pki.Request
	// Issuer should have signed it; nil means it is its own issuer.
	Issuer *x509.Certificate
	// Accepted are further CAs whose signature keeps it usable, as during a rotation.
	Accepted []*x509.Certificate
}

// Verdict is what to do. Usable and Issue may both be true: the old certificate
// serves until the new one is there.
type Verdict struct {
	Usable bool
	Issue  bool
	Reason string
}

func (v Verdict) String() string {
	switch {
	case !v.Issue:
		return "keep"
	case v.Usable:
		return "renew: " + v.Reason
	default:
		return "issue: " + v.Reason
	}
}

// Decide compares what is there with what should be. It is a matter of
// identity first (key, issuer), then of time, then of content.
func Decide(want Want, have pki.Pair, now time.Time) Verdict {
	if have.Empty() {
		return Verdict{Issue: true, Reason: "there is none yet"}
	}

	cert, err := keys.ParseCertificate(have.Crt)
	if err != nil {
		return Verdict{Issue: true, Reason: "the stored one is unreadable"}
	}

	key, err := keys.ParseKey(have.Key)
	if err != nil || !pki.Matches(cert, key) {
		return Verdict{Issue: true, Reason: "its key is missing or another one's"}
	}

	current, trusted := want.signed(cert)

	switch {
	case !trusted:
		return Verdict{Issue: true, Reason: "its issuer is not accepted any more"}
	case !now.Before(cert.NotAfter):
		return Verdict{Issue: true, Reason: "it has expired"}
	case now.Add(clockSlack).Before(cert.NotBefore):
		return Verdict{Issue: true, Reason: "it is not valid yet: the clock was set back"}
	case want.wrongUse(cert):
		return Verdict{Issue: true, Reason: "its use or subject changed"}
	case !current:
		return Verdict{Usable: true, Issue: true, Reason: "the issuing CA changed"}
	case want.otherNames(cert):
		return Verdict{Usable: true, Issue: true, Reason: "the names or addresses changed"}
	case want.due(cert, now):
		return Verdict{Usable: true, Issue: true, Reason: "half of its life has passed"}
	}

	return Verdict{Usable: true}
}

func (w Want) signed(cert *x509.Certificate) (current, trusted bool) {
	if w.Issuer == nil {
		own := cert.CheckSignature(cert.SignatureAlgorithm, cert.RawTBSCertificate, cert.Signature) == nil

		return own, own
	}

	if cert.CheckSignatureFrom(w.Issuer) == nil {
		return true, true
	}

	for _, ca := range w.Accepted {
		if cert.CheckSignatureFrom(ca) == nil {
			return false, true
		}
	}

	return false, false
}

func (w Want) wrongUse(cert *x509.Certificate) bool {
	_, edwards := cert.PublicKey.(ed25519.PublicKey)
	_, ecdsaKey := cert.PublicKey.(*ecdsa.PublicKey)
	wrongKey := w.Request.Algorithm == keys.Ed25519 && !edwards || w.Request.Algorithm == keys.ECDSAP256 && !ecdsaKey

	return wrongKey ||
		!sameSet(cert.Subject.Organization, w.Request.Organization) ||
		has(cert, x509.ExtKeyUsageServerAuth) != (w.Request.Usage&pki.Server != 0) ||
		has(cert, x509.ExtKeyUsageClientAuth) != (w.Request.Usage&pki.Client != 0)
}

func (w Want) otherNames(cert *x509.Certificate) bool {
	return cert.Subject.CommonName != w.Request.CommonName ||
		!sameSet(cert.DNSNames, w.Request.DNSNames) ||
		!sameSet(texts(cert.IPAddresses), texts(w.Request.IPs))
}

// due looks at the certificate's own life, not at the one wished for: a CA
// that ends soon cuts it short.
func (w Want) due(cert *x509.Certificate, now time.Time) bool {
	if now.Before(cert.NotBefore.Add(cert.NotAfter.Sub(cert.NotBefore) / 2)) {
		return false
	}

	if w.Issuer == nil {
		return true
	}

	return w.Issuer.NotAfter.Sub(cert.NotAfter) >= worthwhile
}

func has(cert *x509.Certificate, usage x509.ExtKeyUsage) bool {
	return slices.Contains(cert.ExtKeyUsage, usage)
}

func texts[T fmt.Stringer](list []T) []string {
	out := make([]string, 0, len(list))

	for _, item := range list {
		out = append(out, item.String())
	}

	return out
}

func sameSet(a, b []string) bool {
	return slices.Equal(normal(a), normal(b))
}

func normal(list []string) []string {
	return slices.Compact(slices.Sorted(slices.Values(list)))
}
