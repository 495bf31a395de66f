// Package rotate gives a cluster a new certificate authority of the OS API without a call that fails. How far a rotation has come
// stands in the nodes' machine configurations alone: who is cut off begins again and goes on from there.
package rotate

import (
	"crypto/x509"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"go.yaml.in/yaml/v4"

	"github.com/dactyl-os/dactyl/proto/config"
	"github.com/dactyl-os/dactyl/proto/config/generate"
	"github.com/dactyl-os/dactyl/proto/config/patch"
	"github.com/dactyl-os/dactyl/proto/config/pki"
)

// CA is a certificate authority; a worker's has no key.
type CA struct {
	pki.Pair

	cert *x509.Certificate
}

func readCA(crt, key []byte) (*CA, error) {
	cert, err := pki.ParseCertificate(crt)
	if err != nil {
		return nil, err
	}

	return &CA{pki.Pair{Crt: crt, Key: key}, cert}, nil
}

func (a *CA) is(b *CA) bool { return b != nil && a.cert.Equal(b.cert) }

// kin tells authorities of one purpose: what somebody accepts besides, for reasons of his own, has another organization.
func (a *CA) kin(b *CA) bool {
	return slices.Equal(a.cert.Subject.Organization, b.cert.Subject.Organization)
}

func (a *CA) olderThan(b *CA) bool { return a.cert.NotBefore.Before(b.cert.NotBefore) }

// String is the time from which the authority is valid, by which an operator knows it.
func (a *CA) String() string { return "CA of " + a.cert.NotBefore.UTC().Format(time.RFC3339) }

// Node is what the machine configuration of a node says about authorities.
type Node struct {
	Name     string
	Config   []byte
	Issuing  *CA
	Accepted []*CA
}

// ReadNode takes a machine configuration apart.
func ReadNode(name string, data []byte) (Node, error) {
	n := Node{Name: name, Config: data}

	loaded, err := config.Load(data)
	if err != nil {
		return n, fmt.Errorf("read the machine configuration: %w", err)
	}

	machine := loaded.Machine()
	if machine.CA == nil {
		return n, errors.New("the machine configuration has no machine.ca")
	}

	if n.Issuing, err = readCA(machine.CA.Crt, machine.CA.Key); err != nil {
		return n, fmt.Errorf("machine.ca: %w", err)
	}

	for i, accepted := range machine.AcceptedCAs {
		ca, err := readCA(accepted.Crt, nil)
		if err != nil {
			return n, fmt.Errorf("machine.acceptedCAs[%d]: %w", i, err)
		}

		n.Accepted = append(n.Accepted, ca)
	}

	return n, nil
}

func (n Node) accepts(ca *CA) bool { return slices.ContainsFunc(n.Accepted, ca.is) }

// Rotation is the change from one authority to another, as the nodes tell it.
type Rotation struct {
	// Old is the authority to be rid of.
	Old *CA
	// New is to take its place, and has its key; nil as long as no node issues with it.
	New *CA
	// Stale are accepted authorities of rotations that were broken off before any node issued with them: their keys are lost.
	Stale []*CA
}

// Find tells which rotation is under way. Authorities of one organization belong to rotations; the younger replaces the older.
func Find(nodes []Node) (Rotation, error) {
	var issuing, others []*CA

	for _, n := range nodes {
		issuing = add(issuing, n.Issuing)
	}

	for _, n := range nodes {
		for _, ca := range n.Accepted {
			if ca.kin(issuing[0]) && !slices.ContainsFunc(issuing, ca.is) {
				others = add(others, ca)
			}
		}
	}

	slices.SortStableFunc(issuing, func(a, b *CA) int { return a.cert.NotBefore.Compare(b.cert.NotBefore) })

	switch len(issuing) {
	case 1:
		return findLate(issuing[0], others), nil
	case 2:
		r := Rotation{Old: issuing[0], New: issuing[1], Stale: others}

		switch {
		case !r.Old.olderThan(r.New):
			return r, errors.New("the nodes issue with two CAs of one age, and which is the new one cannot be told: give all nodes the same machine.ca first")
		case len(r.New.Key) == 0:
			return r, fmt.Errorf("only workers have the %s, and its key is on no control plane: give control planes the same machine.ca with its key, or take it back", r.New)
		}

		return r, nil
	default:
		return Rotation{}, fmt.Errorf("the nodes issue with %d different CAs: give all nodes the same machine.ca first", len(issuing))
	}
}

// findLate is Find where all nodes issue with one authority: an older one that is still accepted is what a rotation left to do.
func findLate(issuing *CA, others []*CA) Rotation {
	r := Rotation{Old: issuing}

	for _, ca := range others {
		if ca.olderThan(issuing) && (r.New == nil || r.Old.olderThan(ca)) {
			r.Old, r.New = ca, issuing
		}
	}

	for _, ca := range others {
		if !ca.is(r.Old) {
			r.Stale = append(r.Stale, ca)
		}
	}

	return r
}

// add keeps authorities once each, with the key if any node has it.
func add(list []*CA, ca *CA) []*CA {
	at := slices.IndexFunc(list, ca.is)

	switch {
	case at < 0:
		return append(list, ca)
	case len(list[at].Key) == 0:
		list[at] = ca
	}

	return list
}

// Begin makes the new authority, which is younger than the old one whatever this machine's clock says.
func (r *Rotation) Begin(now time.Time) error {
	if least := r.Old.cert.NotBefore.Add(time.Second); now.Before(least) {
		now = least
	}

	pair, err := pki.NewCA(pki.Ed25519, pki.Subject{Organization: r.Old.cert.Subject.Organization, NotBefore: now, TTL: generate.AuthorityTTL})
	if err != nil {
		return fmt.Errorf("make the new CA: %w", err)
	}

	r.New, err = readCA(pair.Crt, pair.Key)

	return err
}

// A step gives the configuration that a node should have after a phase, nil when it has it already.
type step func(Node) ([]byte, error)

// accept lets certificates of the new authority in.
func (r Rotation) accept(n Node) ([]byte, error) {
	if err := r.check(n); err != nil || n.Issuing.is(r.New) || n.accepts(r.New) {
		return nil, err
	}

	return n.change(nil, append(slices.Clone(n.Accepted), r.New))
}

// swap has the node issue with the new authority and accept the old one.
func (r Rotation) swap(n Node) ([]byte, error) {
	if err := r.check(n); err != nil || n.Issuing.is(r.New) {
		return nil, err
	}

	// A worker gets no key.
	issuing := r.New.Pair
	if len(n.Issuing.Key) == 0 {
		issuing.Key = nil
	}

	return n.change(&issuing, append(n.without(r.New, r.Old), r.Old))
}

// drop refuses what the old authority and lost ones have signed.
func (r Rotation) drop(n Node) ([]byte, error) {
	left := n.without(append(slices.Clone(r.Stale), r.Old, r.New)...)

	switch err := r.check(n); {
	case err != nil:
		return nil, err
	case !n.Issuing.is(r.New):
		return nil, fmt.Errorf("machine.ca is the old %s again: somebody else changes it", n.Issuing)
	case len(left) == len(n.Accepted):
		return nil, nil
	}

	return n.change(nil, left)
}

func (r Rotation) check(n Node) error {
	if n.Issuing.is(r.Old) || n.Issuing.is(r.New) {
		return nil
	}

	return fmt.Errorf("machine.ca is the %s, neither the old one nor the new one: another rotation is under way", n.Issuing)
}

func (n Node) without(cas ...*CA) []*CA {
	return slices.DeleteFunc(slices.Clone(n.Accepted), func(ca *CA) bool { return slices.ContainsFunc(cas, ca.is) })
}

// change gives the configuration with another list of accepted authorities and, unless it is nil, another issuing one. All else
// stays, comments too.
func (n Node) change(issuing *pki.Pair, accepted []*CA) ([]byte, error) {
	var texts []string

	if len(n.Accepted) > 0 {
		texts = append(texts, "machine: {acceptedCAs: {$patch: delete}}")
	}

	machine := map[string]any{}

	if issuing != nil {
		machine["ca"] = config.CertificateAndKey{Crt: issuing.Crt, Key: issuing.Key}
	}

	if len(accepted) > 0 {
		list := make([]config.Certificate, len(accepted))
		for i, ca := range accepted {
			list[i].Crt = ca.Crt
		}

		machine["acceptedCAs"] = list
	}

	text, err := yaml.Marshal(map[string]any{"machine": machine})
	if err != nil {
		return nil, err
	}

	patches, err := patch.LoadAll(append(texts, string(text)))
	if err != nil {
		return nil, err
	}

	return patch.Apply(n.Config, patches...)
}

// bundle is PEM of several authorities.
func bundle(cas ...*CA) []byte {
	var all strings.Builder

	for _, ca := range cas {
		all.WriteString(strings.TrimSpace(string(ca.Crt)) + "\n")
	}

	return []byte(all.String())
}
