package plan_test

import (
	"crypto/x509"
	"net/netip"
	"testing"
	"time"

	keys "github.com/dactyl-os/dactyl/proto/config/pki"
	"github.com/dactyl-os/dactyl/services/trustd/internal/pki"
	"github.com/dactyl-os/dactyl/services/trustd/internal/plan"
)

var start = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

func authority(t *testing.T) *pki.Authority {
	t.Helper()

	pair, err := keys.NewCA(keys.Ed25519, keys.Subject{Organization: []string{"talos"}, NotBefore: start, TTL: 10 * pki.LeafValidity})
	if err != nil {
		t.Fatal(err)
	}

	ca, err := pki.LoadAuthority(pair)
	if err != nil {
		t.Fatal(err)
	}

	return ca
}

func issue(t *testing.T, ca *pki.Authority, request pki.Request, at time.Time) pki.Pair {
	t.Helper()

	pair, err := ca.Issue(request, at)
	if err != nil {
		t.Fatal(err)
	}

	return pair
}

func TestDecide(t *testing.T) {
	t.Parallel()

	ca, other := authority(t), authority(t)
	request := pki.Request{
		CommonName: "node-1", Usage: pki.Server,
		IPs: []netip.Addr{netip.MustParseAddr("10.5.0.2"), netip.MustParseAddr("::1")}, DNSNames: []string{"node-1", "localhost"},
	}
	have := issue(t, ca, request, start)
	day := 24 * time.Hour

	with := func(change func(*pki.Request)) pki.Request {
		changed := request
		change(&changed)

		return changed
	}

	for _, test := range []struct {
		name     string
		have     pki.Pair
		request  pki.Request
		issuer   *pki.Authority
		accepted []*x509.Certificate
		now      time.Time
		want     string
	}{
		{"nothing there", pki.Pair{}, request, ca, nil, start, "issue: there is none yet"},
		{"fresh", have, request, ca, nil, start, "keep"},
		{"adopted after a restart", have, request, ca, nil, start.Add(100 * day), "keep"},
		{"same names in another order", have, with(func(r *pki.Request) {
			r.DNSNames = []string{"localhost", "node-1", "localhost"}
			r.IPs = []netip.Addr{netip.MustParseAddr("::1"), netip.MustParseAddr("10.5.0.2")}
		}), ca, nil, start, "keep"},
		{"half over", have, request, ca, nil, start.Add(183 * day), "renew: half of its life has passed"},
		{"expired", have, request, ca, nil, start.Add(366 * day), "issue: it has expired"},
		{"clock set back", have, request, ca, nil, start.Add(-day), "issue: it is not valid yet: the clock was set back"},
		{"clock a little behind", have, request, ca, nil, start.Add(-5 * time.Minute), "keep"},
		{"new address", have, with(func(r *pki.Request) {
			r.IPs = append([]netip.Addr{netip.MustParseAddr("10.5.0.9")}, r.IPs...)
		}), ca, nil, start, "renew: the names or addresses changed"},
		{"address gone", have, with(func(r *pki.Request) { r.IPs = r.IPs[:1] }), ca, nil, start, "renew: the names or addresses changed"},
		{"renamed", have, with(func(r *pki.Request) { r.CommonName = "node-2" }), ca, nil, start, "renew: the names or addresses changed"},
		{"now a client", have, with(func(r *pki.Request) { r.Usage = pki.Client }), ca, nil, start, "issue: its use or subject changed"},
		{"another role", have, with(func(r *pki.Request) { r.Organization = []string{"os:reader"} }), ca, nil, start, "issue: its use or subject changed"},
		{"another kind of key", have, with(func(r *pki.Request) { r.Algorithm = keys.ECDSAP256 }), ca, nil, start, "issue: its use or subject changed"},
		{"rotated, old CA accepted", have, request, other, []*x509.Certificate{ca.Cert}, start, "renew: the issuing CA changed"},
		{"rotated, old CA gone", have, request, other, nil, start, "issue: its issuer is not accepted any more"},
		{"new CA accepted, old still issues", have, request, ca, []*x509.Certificate{other.Cert}, start, "keep"},
		{"key of another", pki.Pair{Crt: have.Crt, Key: issue(t, ca, request, start).Key}, request, ca, nil, start, "issue: its key is missing or another one's"},
		{"key lost", pki.Pair{Crt: have.Crt}, request, ca, nil, start, "issue: its key is missing or another one's"},
		{"torn file", pki.Pair{Crt: have.Crt[:40], Key: have.Key}, request, ca, nil, start, "issue: the stored one is unreadable"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()

			verdict := plan.Decide(plan.Want{Request: test.request, Issuer: test.issuer.Cert, Accepted: test.accepted}, test.have, test.now)
			if verdict.String() != test.want {
				t.Errorf("got %q, want %q", verdict, test.want)
			}
		})
	}
}

// A CA in its last months cuts certificates short; renewing them again and
// again would gain nothing.
func TestDecideAtTheEndOfTheCA(t *testing.T) {
	t.Parallel()

	ca := authority(t)
	late := ca.Cert.NotAfter.Add(-48 * time.Hour)
	have := issue(t, ca, pki.Request{Usage: pki.Server}, late)
	want := plan.Want{Request: pki.Request{Usage: pki.Server}, Issuer: ca.Cert}

	if verdict := plan.Decide(want, have, late.Add(40*time.Hour)); verdict.Issue {
		t.Errorf("renewed for nothing: %s", verdict)
	}

	cert, err := keys.ParseCertificate(have.Crt)
	if err != nil {
		t.Fatal(err)
	}

	if !cert.NotAfter.Equal(ca.Cert.NotAfter) {
		t.Errorf("certificate ends %s, its CA %s", cert.NotAfter, ca.Cert.NotAfter)
	}
}

func TestDecideSelfSigned(t *testing.T) {
	t.Parallel()

	request := pki.Request{Usage: pki.Server, IPs: []netip.Addr{netip.MustParseAddr("10.5.0.2")}}

	have, err := pki.SelfSigned(request, nil, start)
	if err != nil {
		t.Fatal(err)
	}

	if verdict := plan.Decide(plan.Want{Request: request}, have, start); verdict.Issue {
		t.Errorf("self-signed certificate not kept: %s", verdict)
	}

	issued := issue(t, authority(t), request, start)
	if verdict := plan.Decide(plan.Want{Request: request}, issued, start); verdict.Usable {
		t.Error("a certificate of some CA passed as self-signed")
	}
}
