// Package endpoint is the public side of the gateway: its certificates, its handshakes and its gRPC server.
package endpoint

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"

	"github.com/dactyl-os/dactyl/services/gateway/internal/caller"
)

// PEM is a certificate and its key as resources carry them.
type PEM struct{ Crt, Key []byte }

func (p PEM) empty() bool { return len(p.Crt) == 0 && len(p.Key) == 0 }

// Material is what the gateway shows and expects at handshakes.
type Material struct {
	// Server is shown to clients.
	Server tls.Certificate
	// Client is shown to the gateways of other nodes; nil on a worker, which may not speak for its callers.
	Client *tls.Certificate
	// Accepted are the authorities of clients and of other gateways; nil in maintenance mode.
	Accepted *x509.CertPool
	// Fingerprint is the SHA-256 of the server certificate, as clients compare it in maintenance mode.
	Fingerprint string

	source []byte
}

// Maintenance says whether clients are let in without a certificate.
func (m *Material) Maintenance() bool { return m.Accepted == nil }

// Configured makes the material of a node with a configuration.
func Configured(server, client PEM, accepted [][]byte) (*Material, error) {
	pair, err := tls.X509KeyPair(server.Crt, server.Key)
	if err != nil {
		return nil, fmt.Errorf("server certificate: %w", err)
	}

	material := &Material{Server: pair, Accepted: x509.NewCertPool(), source: digest(accepted, server, client)}
	found := false

	for _, ca := range accepted {
		found = material.Accepted.AppendCertsFromPEM(ca) || found
	}

	if !found {
		return nil, errors.New("accepted authorities: no certificate")
	}

	if !client.empty() {
		pair, err := tls.X509KeyPair(client.Crt, client.Key)
		if err != nil {
			return nil, fmt.Errorf("client certificate: %w", err)
		}

		material.Client = &pair
	}

	return material, nil
}

// Unconfigured makes the material of maintenance mode.
func Unconfigured(server PEM) (*Material, error) {
	pair, err := tls.X509KeyPair(server.Crt, server.Key)
	if err != nil {
		return nil, fmt.Errorf("maintenance certificate: %w", err)
	}

	return &Material{Server: pair, Fingerprint: fingerprint(pair.Certificate[0]), source: digest(nil, server)}, nil
}

// fingerprint is written as `openssl x509 -fingerprint -sha256` does.
func fingerprint(der []byte) string {
	sum := sha256.Sum256(der)
	pairs := make([]string, len(sum))

	for i, b := range sum {
		pairs[i] = strings.ToUpper(hex.EncodeToString([]byte{b}))
	}

	return strings.Join(pairs, ":")
}

func digest(accepted [][]byte, pairs ...PEM) []byte {
	hash := sha256.New()

	for _, ca := range accepted {
		fmt.Fprintf(hash, "%d:%s", len(ca), ca)
	}

	for _, pair := range pairs {
		fmt.Fprintf(hash, "/%d:%s%d:%s", len(pair.Crt), pair.Crt, len(pair.Key), pair.Key)
	}

	return hash.Sum(nil)
}

// Store holds the material in force. Handshakes wait for the first one, so that a client that connects while the
// gateway starts is slow and not refused.
type Store struct {
	mu      sync.RWMutex
	current *Material
	serial  uint64
	present chan struct{}
	// open are the connections that were let in.
	open map[*caller.AuthInfo]struct{}
}

// NewStore makes an empty store.
func NewStore() *Store {
	return &Store{present: make(chan struct{}), open: map[*caller.AuthInfo]struct{}{}}
}

// remember keeps a connection in mind until forget.
func (s *Store) remember(info *caller.AuthInfo) (forget func()) {
	s.mu.Lock()
	defer s.mu.Unlock()

	s.open[info] = struct{}{}

	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()

		delete(s.open, info)
	}
}

// Retire closes the connections, as soon as their calls are done, of callers who would not be let in any more. A client that
// has another certificate by now connects anew with it; on the old connection it would be refused for ever.
func (s *Store) Retire() {
	s.mu.RLock()
	open := slices.Collect(maps.Keys(s.open))
	s.mu.RUnlock()

	for _, info := range open {
		if info.Check() != nil {
			info.Use.Retire()
		}
	}
}

// Set puts material in force for new handshakes; the same material again changes nothing and gives false.
func (s *Store) Set(material *Material) bool {
	s.mu.Lock()
	defer s.mu.Unlock()

	if s.current != nil && bytes.Equal(s.current.source, material.source) {
		return false
	}

	if s.current == nil {
		close(s.present)
	}

	s.current = material
	s.serial++

	return true
}

// Shut takes the material back: nobody is let in until there is other one.
func (s *Store) Shut() {
	s.mu.Lock()
	defer s.mu.Unlock()

	if s.current == nil {
		return
	}

	s.current, s.present = nil, make(chan struct{})
	s.serial++
}

// Maintenance says whether anybody is let in.
func (s *Store) Maintenance() bool {
	material, _ := s.Current()

	return material != nil && material.Maintenance()
}

// Current gives the material in force and its serial number; nil before the first and when it was taken back.
func (s *Store) Current() (*Material, uint64) {
	s.mu.RLock()
	defer s.mu.RUnlock()

	return s.current, s.serial
}

// Await gives the material in force as soon as there is any.
func (s *Store) Await(ctx context.Context) (*Material, uint64, error) {
	for {
		s.mu.RLock()
		material, serial, present := s.current, s.serial, s.present
		s.mu.RUnlock()

		if material != nil {
			return material, serial, nil
		}

		select {
		case <-present:
		case <-ctx.Done():
			return nil, 0, fmt.Errorf("wait for certificates: %w", context.Cause(ctx))
		}
	}
}

// Forwards says whether this node has a certificate to speak for its callers at other nodes.
func (s *Store) Forwards() bool {
	material, _ := s.Current()

	return material != nil && material.Client != nil
}
