package rotate

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"log"
	"slices"
	"strings"
	"time"

	"github.com/dactyl-os/dactyl/proto/config/pki"
)

const pause = 500 * time.Millisecond

// phases are the rotation itself. Each does what is left of it, so that one that is repeated changes nothing.
func (r *Rotator) phases(ctx context.Context, door Door, under bool) error {
	old, fresh := r.rotation.Old, r.rotation.New

	// Where a rotation goes on, some nodes show the new authority already.
	server := bundle(old)
	if under {
		server = bundle(old, fresh)
	}

	// In between, nodes show certificates of both.
	between, err := r.Open(Identity{bundle(old, fresh), r.fresh.Pair})
	if err != nil {
		return err
	}
	defer between.Close()

	for _, phase := range []struct {
		title string
		door  Door
		step  step
		check string
		who   Identity
		ready func(server *x509.Certificate, accepted []*CA) error
	}{
		{
			"Adding new Dactyl CA as accepted...", door, r.rotation.accept,
			"Verifying connectivity with new client cert, but old server CA:", Identity{server, r.fresh.Pair}, fresh.isAccepted,
		},
		{
			"Making new Dactyl CA the issuing CA, old Dactyl CA the accepted CA...", between, r.rotation.swap,
			"Verifying connectivity with new PKI:", r.fresh, fresh.isShown,
		},
		{
			"Removing old Dactyl CA from the accepted CAs...", between, r.rotation.drop,
			"Verifying connectivity with new PKI:", r.fresh, old.isGone,
		},
	} {
		r.say("> %s\n", phase.title)

		if err := r.each(func(node string) (string, error) { return "", r.advance(ctx, phase.door, node, phase.step) }); err != nil {
			return err
		}

		r.say("> %s\n", phase.check)

		if err := r.verify(ctx, phase.who, phase.ready); err != nil {
			return err
		}
	}

	return nil
}

// each does something at every node, and stops at the first that fails.
func (r *Rotator) each(do func(node string) (detail string, err error)) error {
	for _, node := range r.nodes() {
		if r.DryRun {
			r.say("  - %s: skipped (dry-run)\n", node)

			continue
		}

		detail, err := do(node)
		if err != nil {
			return fmt.Errorf("%s: %w", node, err)
		}

		r.say("  - %s: OK%s\n", node, detail)
	}

	return nil
}

// advance brings one node a phase on. What the node has is read anew each time: an answer may have been lost.
func (r *Rotator) advance(ctx context.Context, door Door, name string, next step) error {
	return r.again(ctx, func() error {
		data, err := door.Config(ctx, name)
		if err != nil {
			return err
		}

		n, err := ReadNode(name, data)
		if err != nil {
			return err
		}

		if data, err = next(n); err != nil {
			return Final(err)
		}

		if data == nil {
			return nil
		}

		return door.Apply(ctx, name, data, false)
	})
}

// verify awaits that every node lets an identity in and has taken up its configuration.
func (r *Rotator) verify(ctx context.Context, who Identity, ready func(*x509.Certificate, []*CA) error) error {
	door, err := r.Open(who)
	if err != nil {
		return err
	}
	defer door.Close()

	return r.each(func(node string) (detail string, err error) {
		err = r.again(ctx, func() error {
			version, err := door.Version(ctx, node)
			if err != nil {
				return err
			}

			detail = fmt.Sprintf(" (version %s)", version)

			return r.followed(ctx, door, node, ready)
		})

		return detail, err
	})
}

// followed asks whether a node has the certificates that its configuration wants.
func (r *Rotator) followed(ctx context.Context, door Door, node string, ready func(*x509.Certificate, []*CA) error) error {
	shown, crts, err := door.Certificates(ctx, node)
	if err != nil {
		return err
	}

	server, err := pki.ParseCertificate(shown)
	if err != nil {
		return fmt.Errorf("certificate of the node: %w", err)
	}

	var accepted []*CA

	for _, crt := range crts {
		ca, err := readCA(crt, nil)
		if err != nil {
			return fmt.Errorf("accepted CA of the node: %w", err)
		}

		accepted = append(accepted, ca)
	}

	return ready(server, accepted)
}

// signed tells whether a certificate is of this authority.
func (a *CA) signed(crt []byte) bool {
	cert, err := pki.ParseCertificate(crt)

	return err == nil && cert.CheckSignatureFrom(a.cert) == nil
}

func (a *CA) isAccepted(_ *x509.Certificate, accepted []*CA) error {
	if !slices.ContainsFunc(accepted, a.is) {
		return fmt.Errorf("the %s is not accepted yet", a)
	}

	return nil
}

func (a *CA) isShown(server *x509.Certificate, _ []*CA) error {
	if server.CheckSignatureFrom(a.cert) != nil {
		return fmt.Errorf("its certificate is not of the %s yet", a)
	}

	return nil
}

func (a *CA) isGone(_ *x509.Certificate, accepted []*CA) error {
	if slices.ContainsFunc(accepted, a.is) {
		return fmt.Errorf("the %s is still accepted", a)
	}

	return nil
}

// final is an error that does not heal.
type final struct{ error }

func (f final) Unwrap() error { return f.error }

// Final marks an error that is not worth another attempt.
func Final(err error) error { return final{err} }

// again repeats what may take a node a moment.
func (r *Rotator) again(ctx context.Context, do func() error) error {
	ctx, cancel := context.WithTimeout(ctx, r.Patience)
	defer cancel()

	told := ""
	logger := log.New(r.Log, "", log.LstdFlags)

	for {
		err := do()

		var lasting final
		if err == nil || errors.As(err, &lasting) {
			return err
		}

		if words := err.Error(); words != told {
			told = words

			first, _, _ := strings.Cut(words, "\n") // advice would come too early
			logger.Printf("retrying error: %s", first)
		}

		select {
		case <-ctx.Done():
			return err
		case <-time.After(pause):
		}
	}
}
