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
	"sync/atomic"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/status"

	"github.com/dactyl-os/dactyl/services/gateway/internal/caller"
)

// handshakeTimeout bounds a handshake together with its wait for the first certificates.
const handshakeTimeout = 10 * time.Second

// Server gives the credentials of the public endpoint: the client certificate is verified in the handshake, which ends
// with the TLS alert that tells the reason (expired certificate, unknown authority, certificate required, bad
// certificate); the log has the whole of it.
func (s *Store) Server(log *slog.Logger) credentials.TransportCredentials {
	return &serverCredentials{TransportCredentials: credentials.NewTLS(&tls.Config{MinVersion: tls.VersionTLS13}), store: s, log: log}
}

type serverCredentials struct {
	credentials.TransportCredentials

	store *Store
	log   *slog.Logger
}

// Clone is part of the interface of credentials.
func (c *serverCredentials) Clone() credentials.TransportCredentials {
	return &serverCredentials{TransportCredentials: c.TransportCredentials.Clone(), store: c.store, log: c.log}
}

// ServerHandshake verifies the client and remembers who it is.
func (c *serverCredentials) ServerHandshake(conn net.Conn) (net.Conn, credentials.AuthInfo, error) {
	ctx, cancel := context.WithTimeout(context.Background(), handshakeTimeout)
	defer cancel()

	material, serial, err := c.store.Await(ctx)
	if err != nil {
		return nil, nil, err
	}

	secured, info, err := credentials.NewTLS(material.serverConfig()).ServerHandshake(conn)
	if err != nil {
		if !errors.Is(err, io.EOF) {
			c.log.Info("handshake refused", "remote", conn.RemoteAddr(), "error", err)
		}

		return nil, nil, err
	}

	tlsInfo, ok := info.(credentials.TLSInfo)
	if !ok {
		return nil, nil, fmt.Errorf("handshake: unexpected %T", info)
	}

	who := caller.FromChain(tlsInfo.State.PeerCertificates)
	trust := &trust{store: c.store, caller: who}
	trust.serial.Store(serial)

	return secured, &caller.AuthInfo{TLSInfo: tlsInfo, Caller: who, Check: trust.check, Local: conn.LocalAddr()}, nil
}

func (m *Material) serverConfig() *tls.Config {
	config := &tls.Config{
		MinVersion:   tls.VersionTLS13,
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

// verify asks whether a connection made under older material would still be let in.
func (m *Material) verify(who caller.Caller) error {
	switch {
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
