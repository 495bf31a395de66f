package client

import (
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/dactyl-os/dactyl/proto/config/clientconfig"
)

// target is what the options come to.
type target struct {
	context   string
	cluster   string
	endpoints []string
	nodes     []string
	tls       *tls.Config
}

// NoConfigError says that there is no client configuration to use.
type NoConfigError struct{ Looked []string }

func (e *NoConfigError) Error() string {
	return "no client configuration: looked at " + strings.Join(e.Looked, ", ")
}

func resolve(o Options) (target, error) {
	if o.Insecure {
		return resolveInsecure(o)
	}
	path := o.ConfigPath()
	if _, err := os.Stat(path); errors.Is(err, os.ErrNotExist) {
		looked := []string{path}
		if o.Config == "" {
			looked = clientconfig.Paths(os.Getenv)
		}

		return target{}, &NoConfigError{Looked: looked}
	}
	file, err := clientconfig.Read(path)
	if err != nil {
		return target{}, err
	}
	current, err := file.Current(o.Context)
	if err != nil {
		return target{}, fmt.Errorf("%s: %w", path, err)
	}
	name := o.Context
	if name == "" {
		name = file.Context
	}
	t, err := inContext(name, current, o)
	if err != nil {
		return target{}, fmt.Errorf("%s: %w", path, err)
	}

	return t.override(o)
}

// inContext is what a context says by itself.
func inContext(name string, current *clientconfig.Context, o Options) (target, error) {
	config, err := current.TLS()
	if err != nil {
		return target{}, fmt.Errorf("context %q: %w", name, err)
	}

	return target{context: name, cluster: o.Cluster, endpoints: current.Endpoints, nodes: current.Nodes, tls: config}, nil
}

// override puts flags above the file and fills in what follows.
func (t target) override(o Options) (target, error) {
	if len(o.Endpoints) > 0 {
		t.endpoints = o.Endpoints
	}
	if len(o.Nodes) > 0 {
		t.nodes = o.Nodes
	}
	if len(t.endpoints) == 0 && len(t.nodes) > 0 {
		t.endpoints = t.nodes // a node's own gateway is as good as any
	}
	if len(t.endpoints) == 0 {
		return target{}, fmt.Errorf("context %q has no endpoints: name one with -e, or store it with dactylctl config endpoint ADDRESS", t.context)
	}
	if len(t.nodes) == 0 && len(t.endpoints) > 1 {
		return target{}, fmt.Errorf("which node? There are %d endpoints and no node is set: name nodes with -n, or store them with dactylctl config node ADDRESS", len(t.endpoints))
	}
	for _, node := range t.nodes {
		if err := CheckNode(node); err != nil {
			return target{}, err
		}
	}
	var err error
	t.endpoints = slices.Clone(t.endpoints)
	for i, e := range t.endpoints {
		if t.endpoints[i], err = Endpoint(e); err != nil {
			return target{}, err
		}
	}

	return t, nil
}

// resolveInsecure needs no file: the node itself is the endpoint.
func resolveInsecure(o Options) (target, error) {
	if len(o.Endpoints) == 0 {
		o.Endpoints = o.Nodes
	}
	o.Nodes = nil
	if len(o.Endpoints) == 0 {
		return target{}, errors.New("--insecure talks to the node itself: name it with -n")
	}

	return target{tls: &tls.Config{
		MinVersion:         tls.VersionTLS13,
		InsecureSkipVerify: true, // maintenance mode has a self-signed certificate; the fingerprint stands in
		VerifyPeerCertificate: func(raw [][]byte, _ [][]*x509.Certificate) error {
			return checkFingerprint(raw, o.Fingerprints)
		},
	}}.override(o)
}

// FingerprintError says that a node shows another certificate than the one expected.
type FingerprintError struct{ Got string }

func (e *FingerprintError) Error() string {
	return "the node's certificate has the fingerprint " + e.Got
}

// checkFingerprint accepts SHA-256 of the public key in base64, as the console
// prints it, or of the certificate in hex, as openssl prints it.
func checkFingerprint(raw [][]byte, accepted []string) error {
	if len(accepted) == 0 {
		return nil
	}
	if len(raw) == 0 {
		return errors.New("the node shows no certificate")
	}
	cert, err := x509.ParseCertificate(raw[0])
	if err != nil {
		return err
	}
	key, whole := sha256.Sum256(cert.RawSubjectPublicKeyInfo), sha256.Sum256(cert.Raw)
	got := base64.StdEncoding.EncodeToString(key[:])
	for _, a := range accepted {
		plain := strings.ToLower(strings.ReplaceAll(a, ":", ""))
		if a == got || plain == hex.EncodeToString(whole[:]) || plain == hex.EncodeToString(key[:]) {
			return nil
		}
	}

	return &FingerprintError{Got: got}
}
