package endpoint

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/netip"

	"google.golang.org/grpc/credentials"
)

var errNoClient = errors.New("no client certificate")

// Peer gives the credentials for the gateway of another node. The certificate must be of an accepted authority and
// name the host as the caller wrote it or the address it stands for.
func (s *Store) Peer(host string) credentials.TransportCredentials {
	return &peerCredentials{TransportCredentials: credentials.NewTLS(&tls.Config{MinVersion: tls.VersionTLS13}), store: s, host: host}
}

type peerCredentials struct {
	credentials.TransportCredentials

	store *Store
	host  string
}

// Clone is part of the interface of credentials.
func (c *peerCredentials) Clone() credentials.TransportCredentials {
	return &peerCredentials{TransportCredentials: c.TransportCredentials.Clone(), store: c.store, host: c.host}
}

// ClientHandshake uses the certificates in force at this moment.
func (c *peerCredentials) ClientHandshake(
	ctx context.Context, authority string, conn net.Conn,
) (net.Conn, credentials.AuthInfo, error) {
	material, _ := c.store.Current()
	if material == nil || material.Client == nil {
		return nil, nil, errNoClient
	}

	config := &tls.Config{
		MinVersion:                  tls.VersionTLS13,
		Certificates:                []tls.Certificate{*material.Client},
		DynamicRecordSizingDisabled: true,
		// The standard check knows one name only; verify below makes the same check for both.
		InsecureSkipVerify: true,
		VerifyConnection: func(state tls.ConnectionState) error {
			return verifyServer(material.Accepted, state.PeerCertificates, c.host, remoteIP(conn))
		},
	}

	return credentials.NewTLS(config).ClientHandshake(ctx, authority, conn)
}

func verifyServer(roots *x509.CertPool, chain []*x509.Certificate, host, address string) error {
	if len(chain) == 0 {
		return errors.New("the node showed no certificate")
	}

	intermediates := x509.NewCertPool()
	for _, certificate := range chain[1:] {
		intermediates.AddCert(certificate)
	}

	if _, err := chain[0].Verify(x509.VerifyOptions{
		Roots:         roots,
		Intermediates: intermediates,
		KeyUsages:     []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}); err != nil {
		return fmt.Errorf("certificate of %s: %w", host, err)
	}

	err := chain[0].VerifyHostname(host)
	if err != nil && address != "" && chain[0].VerifyHostname(address) == nil {
		return nil
	}

	return err
}

func remoteIP(conn net.Conn) string {
	address, err := netip.ParseAddrPort(conn.RemoteAddr().String())
	if err != nil {
		return ""
	}

	return address.Addr().Unmap().WithZone("").String()
}
