// Package controllers keeps the secrets resources as the plan wants them: one
// controller a file. What is published is also what is there already: a
// certificate found in an output is kept as long as the plan allows.
package controllers

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/cosi-project/runtime/pkg/controller"
	"github.com/cosi-project/runtime/pkg/resource"
	"github.com/cosi-project/runtime/pkg/resource/meta"

	keys "github.com/dactyl-os/dactyl/proto/config/pki"
	respki "github.com/dactyl-os/dactyl/proto/resource/pki"
	"github.com/dactyl-os/dactyl/proto/resource/secrets"
	"github.com/dactyl-os/dactyl/services/kit/backoff"
	"github.com/dactyl-os/dactyl/services/kit/reconcile"
	"github.com/dactyl-os/dactyl/services/kit/router"
	"github.com/dactyl-os/dactyl/services/trustd/internal/pki"
	"github.com/dactyl-os/dactyl/services/trustd/internal/plan"
)

// lookInterval is how often the clock is asked, not a timer for a year ahead:
// the clock may jump, and a machine may sleep.
const lookInterval = time.Minute

// Env is what all controllers share.
type Env struct {
	Log *slog.Logger
	Now func() time.Time
}

// Signer makes a certificate, here or elsewhere.
type Signer interface {
	Issue(ctx context.Context, request pki.Request, now time.Time) (pki.Pair, error)
}

// local signs with a CA whose key is on this machine.
type local struct{ *pki.Authority }

func (l local) Issue(_ context.Context, request pki.Request, now time.Time) (pki.Pair, error) {
	return l.Authority.Issue(request, now)
}

// ensure gives the certificate to publish under *slot: the one there, or a new
// one. When making a new one fails, a usable old one stays and the error tells.
func (e Env) ensure(ctx context.Context, what string, want plan.Want, signer Signer, slot **respki.CertificateAndKey) error {
	var have pki.Pair
	if *slot != nil {
		have = pki.Pair{Crt: (*slot).Crt, Key: (*slot).Key}
	}

	verdict := plan.Decide(want, have, e.Now())
	if !verdict.Issue {
		return nil
	}

	pair, err := signer.Issue(ctx, want.Request, e.Now())
	if err == nil {
		// What another machine signed may not be what was asked for, or no better: a control plane may still have another CA.
		switch got := plan.Decide(want, pair, e.Now()); {
		case !got.Usable:
			err = fmt.Errorf("the one that came cannot be used: %s", got.Reason)
		case got.Issue && verdict.Usable && got.Reason == verdict.Reason:
			err = fmt.Errorf("the one that came is no better: %s", got.Reason)
		}
	}

	if err != nil {
		if !verdict.Usable {
			*slot = nil
		}

		return fmt.Errorf("issue certificate %s: %w", what, err)
	}

	*slot = &respki.CertificateAndKey{Crt: pair.Crt, Key: pair.Key}

	attrs := []any{"certificate", what, "reason", verdict.Reason}
	if cert, err := keys.ParseCertificate(pair.Crt); err == nil {
		attrs = append(attrs, "until", cert.NotAfter)
	}

	e.Log.Info("certificate issued", attrs...)

	return nil
}

// osAuthority reads the CA of the OS: its issuing certificate, those accepted besides, and the key if it is here.
func osAuthority(root *secrets.OSRootSpec) (*pki.Authority, []*x509.Certificate, error) {
	if root.IssuingCA == nil {
		return nil, nil, fmt.Errorf("read the OS CA: %w", errNoCA)
	}

	authority, err := pki.LoadAuthority(pki.Pair{Crt: root.IssuingCA.Crt, Key: root.IssuingCA.Key})
	if err != nil {
		return nil, nil, fmt.Errorf("read the OS CA: %w", err)
	}

	var accepted []*x509.Certificate

	for _, ca := range root.AcceptedCAs {
		cert, err := keys.ParseCertificate(ca.Crt)
		if err != nil {
			return nil, nil, fmt.Errorf("read an accepted CA: %w", err)
		}

		accepted = append(accepted, cert)
	}

	return authority, accepted, nil
}

type constError string

func (e constError) Error() string { return string(e) }

const errNoCA = constError("machine.ca is missing in the configuration")

// known is reconcile.Find for what can be done without as long as its owner has not told.
func known[T meta.ResourceWithRD](ctx context.Context, r controller.Reader, id resource.ID) T {
	found, _ := reconcile.Find[T](ctx, r, id)

	return found
}

// each runs the step at the start, on every change of an input and every
// lookInterval. A step that fails is tried again, sooner at first.
func (e Env) each(ctx context.Context, r controller.Runtime, step func() error) error {
	var (
		told  reconcile.Told
		fails int
	)

	loop := reconcile.Loop{
		Every: lookInterval, Retry: backoff.Backoff{First: firstRetry, Most: lastRetry},
		Failed: func(err error, _ time.Duration) {
			fails++

			// A configd that still looks for the disks is no news, and neither is what only takes its time.
			if errors.Is(err, errNotYet) || router.IsUnknown(err) && fails <= patientFails {
				return
			}

			if told.News("", err.Error()) {
				e.Log.Warn("secrets are not as they should be, trying again", "error", err)
			}
		},
	}

	return loop.Run(ctx, r, func() error {
		err := step()
		if err == nil {
			fails = 0
			told.News("", "")
		}

		return err
	})
}

// patientFails are the attempts without an answer, some ten seconds of them, that go with a machine's start.
const patientFails = 5

const (
	firstRetry = 250 * time.Millisecond
	lastRetry  = 10 * time.Second
)
