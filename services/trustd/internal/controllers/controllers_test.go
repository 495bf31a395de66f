package controllers

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net/netip"
	"strings"
	"testing"
	"time"

	keys "github.com/dactyl-os/dactyl/proto/config/pki"
	"github.com/dactyl-os/dactyl/proto/resource/cluster"
	"github.com/dactyl-os/dactyl/proto/resource/enums"
	respki "github.com/dactyl-os/dactyl/proto/resource/pki"
	"github.com/dactyl-os/dactyl/services/trustd/internal/pki"
	"github.com/dactyl-os/dactyl/services/trustd/internal/plan"
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

	pair, err := pki.NewAuthority("talos", keys.Ed25519, now)
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
	want := plan.Want{Request: request, Issuer: ca.Cert}

	issue := func(by *pki.Authority, request pki.Request, at time.Time) pki.Pair {
		pair, err := by.Issue(request, at)
		if err != nil {
			t.Fatal(err)
		}

		return pair
	}

	fresh := issue(ca, request, now)
	moved := issue(ca, pki.Request{CommonName: "before", Usage: pki.Server}, now)
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
