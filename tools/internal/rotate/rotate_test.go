package rotate_test

import (
	"bytes"
	"context"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/dactyl-os/dactyl/proto/config"
	"github.com/dactyl-os/dactyl/proto/config/generate"
	"github.com/dactyl-os/dactyl/proto/config/pki"
	"github.com/dactyl-os/dactyl/tools/internal/rotate"
)

var (
	controlPlanes = []string{"10.0.0.2", "10.0.0.3"}
	workers       = []string{"10.0.0.4"}
)

// cluster is nodes that do at once what their machine configuration says.
type cluster struct {
	t       *testing.T
	configs map[string][]byte
	down    map[string]bool
	// dies is the number of changes after which the client is killed; below zero never.
	dies, changes int
	// what the operator has in files
	current, kept, saved rotate.Identity
}

var errKilled = errors.New("the client was killed")

func newCluster(t *testing.T) (*cluster, rotate.Identity) {
	t.Helper()

	bundle, err := generate.NewBundle(time.Now().Add(-time.Minute))
	if err != nil {
		t.Fatal(err)
	}

	out, err := generate.Config(generate.Input{ClusterName: "test", Endpoint: "https://10.0.0.2:6443", Bundle: bundle, Docs: true})
	if err != nil {
		t.Fatal(err)
	}

	c := &cluster{t: t, configs: map[string][]byte{}, down: map[string]bool{}, dies: -1}
	for _, name := range controlPlanes {
		c.configs[name] = out.ControlPlane
	}

	for _, name := range workers {
		c.configs[name] = out.Worker
	}

	pair, err := bundle.ClientPair([]string{"os:admin"}, time.Now().Add(-time.Minute), time.Hour)
	if err != nil {
		t.Fatal(err)
	}

	return c, rotate.Identity{CA: bundle.Certs.OS.Crt, Pair: pair}
}

func (c *cluster) machine(name string) *config.MachineConfig {
	c.t.Helper()

	loaded, err := config.Load(c.configs[name])
	if err != nil {
		c.t.Fatal(err)
	}

	return loaded.Machine()
}

// accepted are the authorities of a node, the issuing one first.
func (c *cluster) accepted(name string) [][]byte {
	machine := c.machine(name)

	list := [][]byte{machine.CA.Crt}
	for _, ca := range machine.AcceptedCAs {
		list = append(list, ca.Crt)
	}

	return list
}

type door struct {
	*cluster

	who rotate.Identity
}

// enter is a handshake: the node accepts the caller, the caller the node.
func (d door) enter(name string) error {
	switch {
	case d.down[name]:
		return errors.New("no answer")
	case !trusted(d.who.Crt, d.accepted(name)...):
		return errors.New("remote error: tls: unknown certificate authority")
	case !slices.ContainsFunc(split(d.who.CA), func(ca []byte) bool { return same(ca, d.machine(name).CA.Crt) }):
		return errors.New("tls: failed to verify certificate: x509: certificate signed by unknown authority")
	}

	return nil
}

func (d door) Version(_ context.Context, name string) (string, error) { return "v1.8.4", d.enter(name) }

func (d door) Config(_ context.Context, name string) ([]byte, error) {
	return d.configs[name], d.enter(name)
}

func (d door) Apply(_ context.Context, name string, data []byte, dryRun bool) error {
	if err := d.enter(name); err != nil || dryRun {
		return err
	}

	if d.changes == d.dies {
		return rotate.Final(errKilled)
	}

	d.changes++
	d.configs[name] = data
	d.everybodyGetsIn(name)

	return nil
}

func (d door) Certificates(_ context.Context, name string) ([]byte, [][]byte, error) {
	return d.machine(name).CA.Crt, d.accepted(name), d.enter(name)
}

func (door) Close() error { return nil }

// everybodyGetsIn: whatever was changed, one of the two client configurations that an operator has in files opens every node.
func (c *cluster) everybodyGetsIn(changed string) {
	opens := func(who rotate.Identity) bool {
		return !slices.ContainsFunc(slices.Collect(maps.Keys(c.configs)), func(name string) bool { return (door{c, who}).enter(name) != nil })
	}
	if !opens(c.current) && !opens(c.kept) {
		c.t.Errorf("after a change of %s, neither the old nor the kept client configuration opens every node", changed)
	}

	for name := range c.configs {
		for other := range c.configs {
			if !slices.ContainsFunc(c.accepted(other), func(ca []byte) bool { return same(ca, c.machine(name).CA.Crt) }) {
				c.t.Errorf("after a change of %s, %s does not accept %s", changed, other, name)
			}
		}
	}
}

func (c *cluster) run(current rotate.Identity, out io.Writer, dryRun bool) error {
	c.current = current
	r := &rotate.Rotator{
		ControlPlanes: controlPlanes, Workers: workers, Current: current, Kept: c.kept, DryRun: dryRun, Patience: 100 * time.Millisecond,
		Open:     func(who rotate.Identity) (rotate.Door, error) { return door{c, who}, nil },
		Describe: func(rotate.Identity) ([]byte, error) { return []byte("context: test\n"), nil },
		Keep:     func(who rotate.Identity) error { c.kept = who; return nil },
		Save:     func(who rotate.Identity) error { c.saved, c.kept = who, rotate.Identity{}; return nil },
		Out:      out, Log: io.Discard,
	}

	return r.Run(c.t.Context())
}

func trusted(crt []byte, cas ...[]byte) bool {
	cert, err := pki.ParseCertificate(crt)
	if err != nil {
		return false
	}

	pool := x509.NewCertPool()
	for _, ca := range cas {
		pool.AppendCertsFromPEM(ca)
	}

	_, err = cert.Verify(x509.VerifyOptions{Roots: pool, CurrentTime: later(), KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny}})

	return err == nil
}

// later is when the last of many rotations within a moment is valid: each authority is a second younger than the one before.
func later() time.Time { return time.Now().Add(time.Minute) }

func split(pem []byte) [][]byte {
	var list [][]byte

	certs, err := pki.ParseCertificates(pem)
	if err != nil {
		return nil
	}

	for _, cert := range certs {
		list = append(list, pki.EncodeCertificate(cert.Raw))
	}

	return list
}

func same(a, b []byte) bool {
	x, err1 := pki.ParseCertificate(a)
	y, err2 := pki.ParseCertificate(b)

	return err1 == nil && err2 == nil && x.Equal(y)
}

// done: one new authority everywhere, its key on control planes only, and all else as it was.
func (c *cluster) done(before map[string][]byte, old rotate.Identity) {
	c.t.Helper()

	first := c.machine(controlPlanes[0]).CA
	if same(first.Crt, old.CA) || len(first.Key) == 0 {
		c.t.Error("the first control plane issues with the old CA, or without a key")
	}

	for name, data := range c.configs {
		machine := c.machine(name)

		if !same(machine.CA.Crt, first.Crt) || len(machine.AcceptedCAs) != 0 {
			c.t.Errorf("%s issues with another CA, or accepts %d more", name, len(machine.AcceptedCAs))
		}

		if worker := slices.Contains(workers, name); worker != (len(machine.CA.Key) == 0) {
			c.t.Errorf("%s: the key of the CA is here or missing", name)
		}

		if (door{c, old}).enter(name) == nil {
			c.t.Errorf("%s lets the old client configuration in", name)
		}

		if err := (door{c, c.saved}).enter(name); err != nil {
			c.t.Errorf("%s: the new client configuration: %v", name, err)
		}

		if was, is := withoutCA(before[name]), withoutCA(data); was != is {
			c.t.Errorf("%s: more than the CA changed:\n%s\nbefore:\n%s", name, is, was)
		}
	}
}

func withoutCA(data []byte) string {
	var lines []string

	for line := range strings.Lines(string(data)) {
		if !strings.Contains(line, "crt:") && !strings.Contains(line, "key:") && !strings.Contains(line, "acceptedCAs:") {
			lines = append(lines, line)
		}
	}

	return strings.Join(lines, "")
}

func TestRotateTenTimes(t *testing.T) {
	c, who := newCluster(t)

	for range 10 {
		before := maps.Clone(c.configs)

		if err := c.run(who, io.Discard, false); err != nil {
			t.Fatal(err)
		}

		c.done(before, who)
		who = c.saved
	}
}

// TestKilledAnywhere kills the client before each of its changes; the next run, with the old client configuration, ends what it
// began.
func TestKilledAnywhere(t *testing.T) {
	const changes = 3 * 3 // phases and nodes

	for dies := range changes {
		t.Run(fmt.Sprint(dies), func(t *testing.T) {
			c, who := newCluster(t)
			before := maps.Clone(c.configs)
			c.dies = dies

			if err := c.run(who, io.Discard, false); !errors.Is(err, errKilled) || !strings.Contains(err.Error(), "the same command again") {
				t.Fatalf("the first run ended with %v", err)
			}

			begun := c.machine(controlPlanes[0]).CA.Crt
			c.dies = -1

			if err := c.run(who, io.Discard, false); err != nil {
				t.Fatal(err)
			}

			c.done(before, who)

			if ca := c.machine(controlPlanes[0]).CA.Crt; dies > len(c.configs) && !same(ca, begun) {
				t.Error("the second run has begun another rotation instead of ending the first")
			}
		})
	}
}

// TestKilledBeforeSaving: every node has forgotten the old authority, and the client has not handed its configuration over.
func TestKilledBeforeSaving(t *testing.T) {
	c, who := newCluster(t)
	before := maps.Clone(c.configs)

	if err := c.run(who, io.Discard, false); err != nil {
		t.Fatal(err)
	}

	// What the first run had kept comes back, what it saved is lost.
	c.kept, c.saved = c.saved, rotate.Identity{}
	changes := c.changes

	if err := c.run(who, io.Discard, false); err != nil {
		t.Fatal(err)
	}

	if c.changes != changes {
		t.Errorf("%d changes of nodes by a run that only had to write a file", c.changes-changes)
	}

	c.done(before, who)
}

func TestNothingChangesWhenANodeIsDown(t *testing.T) {
	c, who := newCluster(t)
	before := maps.Clone(c.configs)
	c.down[workers[0]] = true

	err := c.run(who, io.Discard, false)
	if err == nil || !strings.Contains(err.Error(), "nothing was changed") || !strings.Contains(err.Error(), workers[0]+": no answer") || strings.Contains(err.Error(), controlPlanes[0]) {
		t.Errorf("the error is %v", err)
	}

	if !maps.EqualFunc(before, c.configs, bytes.Equal) || len(c.kept.CA) > 0 {
		t.Error("something changed")
	}
}

func TestDryRun(t *testing.T) {
	c, who := newCluster(t)
	before := maps.Clone(c.configs)

	var out strings.Builder
	if err := c.run(who, &out, true); err != nil {
		t.Fatal(err)
	}

	if !maps.EqualFunc(before, c.configs, bytes.Equal) || len(c.kept.CA) > 0 || len(c.saved.CA) > 0 {
		t.Error("a dry run changed something")
	}

	if strings.Contains(out.String(), "New Dactyl CA") || strings.Count(out.String(), "skipped (dry-run)") != 6*3+1 {
		t.Errorf("a dry run says:\n%s", out.String())
	}
}

// TestOtherAuthoritiesStay: what somebody accepts for reasons of his own has another organization.
func TestOtherAuthoritiesStay(t *testing.T) {
	c, who := newCluster(t)
	theirs, lost := authority(t, "audit", 0), authority(t, "dactyl", time.Hour)
	encode := base64.StdEncoding.EncodeToString
	name := controlPlanes[1]
	c.configs[name] = bytes.Replace(c.configs[name], []byte("\nmachine:\n"), fmt.Appendf(nil, "\nmachine:\n    acceptedCAs:\n        - crt: %s\n        - crt: %s\n",
		encode(theirs.Crt), encode(lost.Crt)), 1)

	if err := c.run(who, io.Discard, false); err != nil {
		t.Fatal(err)
	}

	accepted := c.machine(name).AcceptedCAs
	if len(accepted) != 1 || !same(accepted[0].Crt, theirs.Crt) {
		t.Errorf("%d authorities are accepted besides, want the one of audit", len(accepted))
	}
}

// TestUnclear refuses what cannot be told from the nodes.
func TestUnclear(t *testing.T) {
	c, _ := newCluster(t)
	young := authority(t, "dactyl", time.Hour)
	c.issue(workers[0], young)

	if _, err := rotate.Find(c.read()); err == nil || !strings.Contains(err.Error(), "only workers have the CA of") {
		t.Errorf("a CA on workers only: %v", err)
	}

	c.issue(controlPlanes[0], authority(t, "dactyl", 2*time.Hour))

	if _, err := rotate.Find(c.read()); err == nil || !strings.Contains(err.Error(), "3 different CAs") {
		t.Errorf("three CAs: %v", err)
	}
}

// issue puts the certificate of another authority into a node's configuration.
func (c *cluster) issue(name string, ca pki.Pair) {
	encode := base64.StdEncoding.EncodeToString
	machine := c.machine(name)

	data := bytes.ReplaceAll(c.configs[name], []byte(encode(machine.CA.Crt)), []byte(encode(ca.Crt)))
	if len(machine.CA.Key) > 0 {
		data = bytes.ReplaceAll(data, []byte(encode(machine.CA.Key)), []byte(encode(ca.Key)))
	}

	c.configs[name] = data
}

// authority makes one that is valid from some time on.
func authority(t *testing.T, organization string, from time.Duration) pki.Pair {
	t.Helper()

	pair, err := pki.NewCA(pki.Ed25519, pki.Subject{Organization: []string{organization}, NotBefore: time.Now().Add(from), TTL: 10 * time.Hour})
	if err != nil {
		t.Fatal(err)
	}

	return pair
}

func (c *cluster) read() []rotate.Node {
	var nodes []rotate.Node

	for name, data := range c.configs {
		n, err := rotate.ReadNode(name, data)
		if err != nil {
			c.t.Fatal(err)
		}

		nodes = append(nodes, n)
	}

	return nodes
}
