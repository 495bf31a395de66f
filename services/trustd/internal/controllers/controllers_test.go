package controllers

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	keys "github.com/dactyl-os/dactyl/proto/config/pki"
	"github.com/dactyl-os/dactyl/proto/resource/cluster"
	"github.com/dactyl-os/dactyl/proto/resource/enums"
	respki "github.com/dactyl-os/dactyl/proto/resource/pki"
	"github.com/dactyl-os/dactyl/proto/resource/secrets"
	"github.com/dactyl-os/dactyl/services/trustd/internal/pki"
	"github.com/dactyl-os/dactyl/services/trustd/internal/plan"
	"github.com/dactyl-os/dactyl/services/trustd/internal/remote"
	"github.com/dactyl-os/dactyl/services/trustd/internal/spec"
)

type answer struct {
	pair pki.Pair
	err  error
}

func (a answer) Issue(context.Context, pki.Request, time.Time) (pki.Pair, error) {
	return a.pair, a.err
}

func authority(t *testing.T, now time.Time) *pki.Authority {
	t.Helper()

	pair, err := keys.NewCA(keys.Ed25519, keys.Subject{Organization: []string{"talos"}, NotBefore: now, TTL: 10 * pki.LeafValidity})
	if err != nil {
		t.Fatal(err)
	}

	ca, err := pki.LoadAuthority(pair)
	if err != nil {
		t.Fatal(err)
	}

	return ca
}

// What another machine answers, or that none does, must not take away a
// certificate that is still good.
func TestEnsure(t *testing.T) {
	t.Parallel()

	now := time.Now()
	ca, stranger := authority(t, now), authority(t, now)
	request := pki.Request{CommonName: "worker-1", Usage: pki.Server}
	old := authority(t, now)
	want := plan.Want{Request: request, Issuer: ca.Cert, Accepted: []*x509.Certificate{old.Cert}}

	issue := func(by *pki.Authority, request pki.Request, at time.Time) pki.Pair {
		pair, err := by.Issue(request, at)
		if err != nil {
			t.Fatal(err)
		}

		return pair
	}

	fresh := issue(ca, request, now)
	moved := issue(ca, pki.Request{CommonName: "before", Usage: pki.Server}, now)
	ofOld := issue(old, request, now)
	expired := issue(ca, request, now.Add(-2*pki.LeafValidity))

	for _, test := range []struct {
		name   string
		have   pki.Pair
		answer answer
		result pki.Pair
		err    string
	}{
		{"first", pki.Pair{}, answer{pair: fresh}, fresh, ""},
		{"kept without asking", fresh, answer{err: errors.New("asked")}, fresh, ""},
		{"renewed", moved, answer{pair: fresh}, fresh, ""},
		{"nobody answers", moved, answer{err: errors.New("no route")}, moved, "issue certificate of the API: no route"},
		{"signed by a stranger", moved, answer{pair: issue(stranger, request, now)}, moved,
			"issue certificate of the API: the one that came cannot be used: its issuer is not accepted any more"},
		{"signed by a control plane that has not changed its CA yet", ofOld, answer{pair: issue(old, request, now)}, ofOld,
			"issue certificate of the API: the one that came is no better: the issuing CA changed"},
		{"expired and nobody answers", expired, answer{err: errors.New("no route")}, pki.Pair{}, "issue certificate of the API: no route"},
	} {
		var slot *respki.CertificateAndKey
		if !test.have.Empty() {
			slot = &respki.CertificateAndKey{Crt: test.have.Crt, Key: test.have.Key}
		}

		env := Env{Log: slog.New(slog.NewTextHandler(io.Discard, nil)), Now: func() time.Time { return now }}

		var text string
		if err := env.ensure(t.Context(), "of the API", want, test.answer, &slot); err != nil {
			text = err.Error()
		}

		var got pki.Pair
		if slot != nil {
			got = pki.Pair{Crt: slot.Crt, Key: slot.Key}
		}

		if text != test.err || !got.Equal(test.result) {
			t.Errorf("%s: error %q, want %q; the right certificate: %v", test.name, text, test.err, got.Equal(test.result))
		}
	}
}

// choosy refuses requests as a control plane does whose address they name.
type choosy struct {
	*pki.Authority

	asked [][]netip.Addr
}

func (c *choosy) Issue(_ context.Context, request pki.Request, now time.Time) (pki.Pair, error) {
	c.asked = append(c.asked, request.IPs)

	if slices.Contains(request.IPs, netip.MustParseAddr("10.2.2.2")) {
		return pki.Pair{}, fmt.Errorf("%w: \"10.2.2.2\" belongs to this control plane", remote.ErrRefused)
	}

	return c.Authority.Issue(request, now)
}

// TestAskAgain: guide 01 gives all nodes one address on lo. A worker that is refused for it asks once more without.
func TestAskAgain(t *testing.T) {
	t.Parallel()

	addrs := func(list ...string) (out []netip.Addr) {
		for _, text := range list {
			out = append(out, netip.MustParseAddr(text))
		}

		return out
	}

	now := time.Now()
	signer := &choosy{Authority: authority(t, now)}
	own := addrs("10.5.0.5", "10.2.2.2")
	root := &secrets.OSRootSpec{CertSANIPs: addrs("10.5.0.2"), CertSANDNSNames: []string{"api.example.org"}}
	sans := secrets.CertSANSpec{FQDN: "worker-1", DNSNames: []string{"api.example.org", "worker-1"}, IPs: addrs("10.2.2.2", "10.5.0.2", "10.5.0.5")}
	ctrl := &API{Env: Env{Log: slog.New(slog.DiscardHandler), Now: func() time.Time { return now }}}
	all := plan.Want{Request: spec.Worker(sans), Issuer: signer.Cert}
	less := all
	less.Request = spec.Worker(unshared(sans, root, own, addrs("10.5.0.2", "10.2.2.2")))

	var slot *respki.CertificateAndKey
	if err := ctrl.askAgain(t.Context(), all, less, signer, &slot); err != nil {
		t.Fatal(err)
	}

	cert, err := keys.ParseCertificate(slot.Crt)
	if err != nil {
		t.Fatal(err)
	}

	if fmt.Sprint(cert.IPAddresses, cert.DNSNames) != "[10.5.0.5] [worker-1]" {
		t.Errorf("the certificate names %v %v", cert.IPAddresses, cert.DNSNames)
	}

	// The next look asks nobody, until the refusal is old.
	for want, wait := range []time.Duration{time.Minute, time.Hour} {
		now, signer.asked = now.Add(wait), nil

		if err := ctrl.askAgain(t.Context(), all, less, signer, &slot); err != nil || len(signer.asked) != want {
			t.Errorf("after %s: asked %d times, then %v", wait, len(signer.asked), err)
		}
	}

	// What cannot be less is refused once.
	signer.asked, slot = nil, nil
	if err := (&API{Env: ctrl.Env}).askAgain(t.Context(), all, all, signer, &slot); !errors.Is(err, remote.ErrRefused) || len(signer.asked) != 1 {
		t.Errorf("asked %d times, then %v", len(signer.asked), err)
	}
}

func TestHosts(t *testing.T) {
	t.Parallel()

	member := func(kind enums.MachineType, addrs ...string) *cluster.Member {
		m := cluster.NewMember(cluster.NamespaceName, "m")
		m.TypedSpec().MachineType = kind

		for _, addr := range addrs {
			m.TypedSpec().Addresses = append(m.TypedSpec().Addresses, netip.MustParseAddr(addr))
		}

		return m
	}

	members := []*cluster.Member{
		member(enums.MachineTypeControlPlane, "10.5.0.2", "172.16.0.1"), member(enums.MachineTypeControlPlane, "10.5.0.3"),
		member(enums.MachineTypeWorker, "10.5.0.5"),
	}
	own := []netip.Addr{netip.MustParseAddr("10.5.0.5"), netip.MustParseAddr("172.16.0.1")}

	for endpoint, want := range map[string]string{
		"10.5.0.2":        "10.5.0.2 10.5.0.3",
		"api.example.org": "10.5.0.2 10.5.0.3 api.example.org",
		"":                "10.5.0.2 10.5.0.3",
	} {
		if got := strings.Join(hosts(members, own, endpoint), " "); got != want {
			t.Errorf("endpoint %q: got %q, want %q", endpoint, got, want)
		}
	}
}
