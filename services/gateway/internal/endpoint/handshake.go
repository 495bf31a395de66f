package endpoint

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/status"

	"github.com/dactyl-os/dactyl/services/gateway/internal/bounds"
	"github.com/dactyl-os/dactyl/services/gateway/internal/caller"
)

// handshakeTimeout bounds a handshake together with its wait for the first certificates.
const (
	handshakeTimeout = 10 * time.Second

	lingerTime  = time.Second
	lingerBytes = 64 << 10
)

// Server gives the credentials of the public endpoint: the client certificate is verified in the handshake, which ends
// with the TLS alert that tells the reason (expired certificate, unknown authority, certificate required, bad
// certificate); the log has the whole of it.
func (s *Store) Server(ledger *bounds.Ledger, log *slog.Logger) credentials.TransportCredentials {
	return &serverCredentials{
		TransportCredentials: credentials.NewTLS(&tls.Config{MinVersion: tls.VersionTLS13}), store: s, ledger: ledger, log: log,
	}
}

type serverCredentials struct {
	credentials.TransportCredentials

	store  *Store
	ledger *bounds.Ledger
	log    *slog.Logger
}

// Clone is part of the interface of credentials.
func (c *serverCredentials) Clone() credentials.TransportCredentials {
	return &serverCredentials{TransportCredentials: c.TransportCredentials.Clone(), store: c.store, ledger: c.ledger, log: c.log}
}

// ServerHandshake verifies the client and remembers who it is.
func (c *serverCredentials) ServerHandshake(conn net.Conn) (net.Conn, credentials.AuthInfo, error) {
	ctx, cancel := context.WithTimeout(context.Background(), handshakeTimeout)
	defer cancel()

	material, serial, err := c.store.Await(ctx)
	if err != nil {
		return nil, nil, err
	}

	secured := tls.Server(conn, material.serverConfig())

	if err := secured.HandshakeContext(ctx); err != nil {
		if !errors.Is(err, io.EOF) && !errors.Is(err, net.ErrClosed) {
			c.log.Info("handshake failed", "remote", conn.RemoteAddr(), "error", err)
			linger(conn)
		}

		return nil, nil, fmt.Errorf("handshake: %w", err)
	}

	if place, ok := conn.(*waitingConn); ok {
		place.known()
	}

	info := &caller.AuthInfo{Caller: caller.FromChain(secured.ConnectionState().PeerCertificates), Local: conn.LocalAddr()}
	info.State = secured.ConnectionState()
	info.SecurityLevel = credentials.PrivacyAndIntegrity

	account, err := c.ledger.Connect(info.Caller.Key(conn.RemoteAddr()), info.Caller.Gateway())
	if err != nil {
		c.log.Info("connection refused", "remote", conn.RemoteAddr(), "error", err)

		return nil, nil, err
	}

	info.Account = account

	trust := &trust{store: c.store, caller: info.Caller}
	trust.serial.Store(serial)
	info.Check = trust.check
	info.Use = caller.NewUse(conn.Close)
	forget := c.store.remember(info)

	return &countedConn{Conn: secured, end: sync.OnceFunc(func() {
		forget()
		info.Use.Closed()
		account.Disconnect()
	})}, info, nil
}

// countedConn is a connection in the ledger.
type countedConn struct {
	net.Conn

	end func()
}

// Close ends the connection and its count.
func (c *countedConn) Close() error {
	defer c.end()

	return c.Conn.Close()
}

// linger keeps a refused connection until the client has read the alert. With TLS 1.3 the client believes that it is
// connected and has sent its first calls: closing right away would reset the connection, and the client would see that
// instead of the reason.
func linger(conn net.Conn) {
	if half, ok := conn.(interface{ CloseWrite() error }); ok && half.CloseWrite() == nil {
		_ = conn.SetReadDeadline(time.Now().Add(lingerTime))
		_, _ = io.CopyN(io.Discard, conn, lingerBytes)
	}
}

func (m *Material) serverConfig() *tls.Config {
	config := &tls.Config{
		MinVersion:   tls.VersionTLS13,
		NextProtos:   []string{"h2"},
		Certificates: []tls.Certificate{m.Server},
		ClientCAs:    m.Accepted,
		ClientAuth:   tls.RequireAndVerifyClientCert,
		// A resumed session would skip the verification against authorities that changed since.
		SessionTicketsDisabled: true,
		// Answers are sent whole: small first records only add system calls.
		DynamicRecordSizingDisabled: true,
	}

	if m.Maintenance() {
		config.ClientAuth = tls.NoClientCert
	}

	return config
}

// trust is asked at every call of a connection, which may be older than the certificates in force.
type trust struct {
	store  *Store
	caller caller.Caller
	serial atomic.Uint64
}

func (t *trust) check() error {
	material, serial := t.store.Current()

	if certificate := t.caller.Certificate; certificate != nil {
		if now := time.Now(); now.After(certificate.NotAfter) {
			return status.Errorf(codes.Unauthenticated, "client certificate expired at %s", certificate.NotAfter.UTC().Format(time.RFC3339))
		}
	}

	if t.serial.Load() == serial {
		return nil
	}

	if err := material.verify(t.caller); err != nil {
		return err
	}

	t.serial.Store(serial)

	return nil
}

// ServerTLS is for other protocols beside the public endpoint: the same certificates, with HTTP/1.1. There is nobody to serve in
// maintenance mode.
func (s *Store) ServerTLS() *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS13,
		GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) {
			material, _ := s.Current()
			if material == nil || material.Maintenance() {
				return nil, errNotConfigured
			}

			config := material.serverConfig()
			config.NextProtos = []string{"http/1.1"}

			return config, nil
		},
	}
}

var errNotConfigured = errors.New("this node has no machine configuration")

// Verify asks whether a caller would be let in now.
func (s *Store) Verify(who caller.Caller) error {
	trust := &trust{store: s, caller: who}

	return trust.check()
}

// verify asks whether a connection made under older material would still be let in.
func (m *Material) verify(who caller.Caller) error {
	switch {
	case m == nil:
		return status.Error(codes.Unauthenticated, "this node has left maintenance mode: it has a configuration that it cannot read (see its console)")
	case m.Maintenance() && who.Certificate == nil:
		return nil // the node's own certificate was renewed, for an address that it got meanwhile
	case m.Maintenance():
		// What a certificate allowed before the node was reset, nobody may do in maintenance mode.
		return status.Error(codes.Unauthenticated, "this node has lost its configuration: connect again in maintenance mode")
	case who.Certificate == nil:
		return status.Error(codes.Unauthenticated, "this node has left maintenance mode: connect with a client certificate")
	}

	intermediates := x509.NewCertPool()
	for _, certificate := range who.Intermediates {
		intermediates.AddCert(certificate)
	}

	_, err := who.Certificate.Verify(x509.VerifyOptions{
		Roots:         m.Accepted,
		Intermediates: intermediates,
		KeyUsages:     []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	})
	if err != nil {
		return status.Errorf(codes.Unauthenticated, "client certificate: %v", err)
	}

	return nil
}
