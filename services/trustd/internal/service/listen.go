package service

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"strconv"
	"time"

	"github.com/cosi-project/runtime/pkg/safe"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/keepalive"

	"github.com/dactyl-os/dactyl/proto/resource/secrets"
	securityapi "github.com/dactyl-os/dactyl/proto/security"
	"github.com/dactyl-os/dactyl/services/trustd/internal/remote"
)

const (
	maxRequest   = 64 << 10
	stopTime     = time.Second
	handshake    = 5 * time.Second
	idleTime     = 30 * time.Second
	maxPerWorker = 4
)

// Serve answers on the listener until ctx ends. The certificate is looked up
// for every connection: a renewed one counts at once, and a worker, which has
// none, refuses every handshake.
func (s *Security) Serve(ctx context.Context, listener net.Listener) error {
	server := grpc.NewServer(
		grpc.Creds(credentials.NewTLS(&tls.Config{
			MinVersion: tls.VersionTLS13,
			GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
				return s.certificate(ctx)
			},
		})),
		grpc.MaxRecvMsgSize(maxRequest),
		grpc.MaxConcurrentStreams(maxPerWorker),
		grpc.ConnectionTimeout(handshake),
		grpc.KeepaliveParams(keepalive.ServerParameters{MaxConnectionIdle: idleTime}),
	)
	securityapi.RegisterSecurityServiceServer(server, s)

	stopped := context.AfterFunc(ctx, func() {
		force := time.AfterFunc(stopTime, server.Stop)
		defer force.Stop()

		server.GracefulStop()
	})
	defer stopped()

	if err := server.Serve(listener); err != nil && ctx.Err() == nil && !errors.Is(err, grpc.ErrServerStopped) {
		return fmt.Errorf("serve signing requests: %w", err)
	}

	return nil
}

// ListenAndServe is Serve without init, which otherwise holds the port. A port
// that is taken, as on a laptop where two run, leaves the rest of trustd running.
func (s *Security) ListenAndServe(ctx context.Context) error {
	var config net.ListenConfig

	listener, err := config.Listen(ctx, "tcp", net.JoinHostPort("", strconv.Itoa(remote.Port)))
	if err != nil {
		s.Log.Warn("signing requests are not answered", "error", err)

		return nil
	}

	return s.Serve(ctx, listener)
}

func (s *Security) certificate(ctx context.Context) (*tls.Certificate, error) {
	certs, err := safe.StateGetByID[*secrets.TrustdCerts](ctx, s.Local, secrets.TrustdID)
	if err != nil || certs.TypedSpec().Server == nil {
		return nil, errors.New("no certificate: this machine is not a control plane")
	}

	pair, err := tls.X509KeyPair(certs.TypedSpec().Server.Crt, certs.TypedSpec().Server.Key)
	if err != nil {
		return nil, fmt.Errorf("load trustd's certificate: %w", err)
	}

	return &pair, nil
}
