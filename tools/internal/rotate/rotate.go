package rotate

import (
	"bytes"
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log"
	"slices"
	"strings"
	"time"

	"go.yaml.in/yaml/v4"

	"github.com/dactyl-os/dactyl/proto/config"
	"github.com/dactyl-os/dactyl/proto/config/generate"
	"github.com/dactyl-os/dactyl/proto/config/pki"
)

// Identity is who calls and whom he believes: PEM of authorities, of a client certificate and of its key.
type Identity struct {
	CA []byte
	pki.Pair
}

// Door is a way to the nodes with one identity.
type Door interface {
	// Version is the tag of the node's version.
	Version(ctx context.Context, node string) (string, error)
	// Config is the node's machine configuration.
	Config(ctx context.Context, node string) ([]byte, error)
	// Apply gives the node another one; with dryRun it is only looked at.
	Apply(ctx context.Context, node string, data []byte, dryRun bool) error
	// Certificates are the one that the node shows and the authorities that it accepts, in PEM.
	Certificates(ctx context.Context, node string) (server []byte, accepted [][]byte, err error)
	Close() error
}

// Rotator rotates the authority of one cluster.
type Rotator struct {
	ControlPlanes, Workers []string
	// Current is what the client configuration in use holds, Kept what an earlier run left; without one its CA is empty.
	Current, Kept Identity
	Open          func(Identity) (Door, error)
	// Describe is the text of the new client configuration; Keep puts it aside before the first change, Save where it belongs.
	Describe   func(Identity) ([]byte, error)
	Keep, Save func(Identity) error
	// Out has the steps, Log what is tried again.
	Out, Log io.Writer
	DryRun   bool
	// Patience is how long a node may take to follow.
	Patience time.Duration

	rotation Rotation
	fresh    Identity
}

const pause = 500 * time.Millisecond

// Run rotates, or finishes the rotation that is under way.
func (r *Rotator) Run(ctx context.Context) error {
	door, nodes, kept, err := r.enter(ctx)
	if err != nil {
		return err
	}
	defer door.Close()

	if r.rotation, err = Find(nodes); err != nil {
		return err
	}

	if kept && r.rotation.New == nil && r.rotation.Old.signed(r.Kept.Crt) {
		// Every node has forgotten the old authority: nothing is left but to hand the client configuration over.
		return r.finish(r.Kept, r.rotation.Old)
	}

	under := r.rotation.New != nil
	if err := r.prepare(under); err != nil {
		return err
	}

	if err := r.checkExisting(ctx, door, nodes); err != nil {
		return err
	}

	if !r.DryRun {
		if err := r.Keep(Identity{bundle(r.rotation.New, r.rotation.Old), r.fresh.Pair}); err != nil {
			return err
		}
	}

	if err := r.phases(ctx, door, under); err != nil {
		return fmt.Errorf("%w\n  next: the same command again, which goes on from here; until then the nodes accept the old CA and the new one", err)
	}

	if r.DryRun {
		r.say("> Writing new talosconfig: skipped (dry-run)\n")

		return nil
	}

	return r.finish(Identity{r.rotation.New.Crt, r.fresh.Pair}, r.rotation.New)
}

// enter finds an identity that all nodes let in, and reads their configurations. kept tells that it is what an earlier run left.
func (r *Rotator) enter(ctx context.Context) (door Door, nodes []Node, kept bool, err error) {
	for _, who := range []Identity{r.Current, r.Kept} {
		if len(who.CA) == 0 {
			continue
		}

		// An earlier run may have stopped where some nodes show a certificate of the new authority.
		trusting := Identity{slices.Concat(who.CA, r.Kept.CA), who.Pair}

		opened, openErr := r.Open(trusting)
		if openErr != nil {
			return nil, nil, false, openErr
		}

		nodes, readErr := r.read(ctx, opened)
		if readErr == nil {
			return opened, nodes, bytes.Equal(who.Crt, r.Kept.Crt), nil
		}

		if err == nil {
			err = notBegun(readErr)
		}

		_ = opened.Close() // it led nowhere
	}

	return nil, nil, false, err
}

func (r *Rotator) nodes() []string { return slices.Concat(r.ControlPlanes, r.Workers) }

func (r *Rotator) read(ctx context.Context, door Door) ([]Node, error) {
	var (
		nodes []Node
		errs  []error
	)

	for _, name := range r.nodes() {
		data, err := door.Config(ctx, name)
		if err == nil {
			var n Node
			n, err = ReadNode(name, data)
			nodes = append(nodes, n)
		}

		if err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", name, err))
		}
	}

	return nodes, errors.Join(errs...)
}

// prepare shows the authorities and makes what is new.
func (r *Rotator) prepare(under bool) error {
	if under {
		r.say("> A rotation is under way, going on with it\n")
	}

	r.say("> Current Dactyl CA:\n%s", describe(r.rotation.Old.Crt, nil))

	if !under {
		if err := r.rotation.Begin(time.Now()); err != nil {
			return err
		}
	}

	for _, ca := range r.rotation.Stale {
		r.say("> Left by a rotation that was broken off, to be removed: the %s\n", ca)
	}

	signer := &generate.Bundle{Certs: generate.Certs{OS: &config.CertificateAndKey{Crt: r.rotation.New.Crt, Key: r.rotation.New.Key}}}

	pair, err := signer.ClientPair([]string{"os:admin"}, r.rotation.New.cert.NotBefore, generate.ClientTTL)
	if err != nil {
		return fmt.Errorf("make the new client certificate: %w", err)
	}

	r.fresh = Identity{r.rotation.New.Crt, pair}

	// Nothing is kept of what a dry run makes.
	if r.DryRun {
		return nil
	}

	text, err := r.Describe(r.fresh)
	if err != nil {
		return err
	}

	r.say("> New Dactyl CA:\n%s> Generating new talosconfig:\n%s", describe(r.rotation.New.Crt, r.rotation.New.Key), text)

	return nil
}

// describe is an authority as it stands in a machine configuration.
func describe(crt, key []byte) []byte {
	var shown any = config.Certificate{Crt: crt}
	if key != nil {
		shown = config.CertificateAndKey{Crt: crt, Key: key}
	}

	text, err := yaml.Marshal(shown)
	if err != nil {
		return nil
	}

	return text
}

// checkExisting ends the rotation before it has begun when a node is away or would refuse what is to come.
func (r *Rotator) checkExisting(ctx context.Context, door Door, nodes []Node) error {
	r.say("> Verifying connectivity with existing PKI:\n")

	var errs []error

	for _, n := range nodes {
		version, err := door.Version(ctx, n.Name)
		if err == nil {
			err = r.try(ctx, door, n)
		}

		if err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", n.Name, err))

			continue
		}

		r.say("  - %s: OK (version %s)\n", n.Name, version)
	}

	if err := errors.Join(errs...); err != nil {
		return notBegun(err)
	}

	return nil
}

func notBegun(err error) error {
	return fmt.Errorf("nothing was changed: the rotation begins when every node answers and takes it\n%w", err)
}

// try asks a node whether it would take its next configuration: a refusal halfway would leave the cluster between two authorities.
func (r *Rotator) try(ctx context.Context, door Door, n Node) error {
	for _, next := range []step{r.rotation.accept, r.rotation.swap} {
		data, err := next(n)
		if err != nil {
			return err
		}

		if data == nil {
			continue
		}

		if err := door.Apply(ctx, n.Name, data, true); err != nil {
			return err
		}
	}

	return nil
}

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

func (r *Rotator) finish(who Identity, ca *CA) error {
	return r.Save(Identity{ca.Crt, who.Pair})
}

func (r *Rotator) say(format string, args ...any) { fmt.Fprintf(r.Out, format, args...) }
