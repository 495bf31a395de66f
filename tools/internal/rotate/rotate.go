package rotate

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
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
		return r.finish(Identity{r.rotation.Old.Crt, r.Kept.Pair})
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
		return fmt.Errorf("%w\n  next: the same command again, which goes on from here", err)
	}

	return r.finish(r.fresh)
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

// finish hands the new client configuration over.
func (r *Rotator) finish(who Identity) error {
	if r.DryRun {
		r.say("> Writing new talosconfig: skipped (dry-run)\n")

		return nil
	}

	return r.Save(who)
}

func (r *Rotator) say(format string, args ...any) { fmt.Fprintf(r.Out, format, args...) }
