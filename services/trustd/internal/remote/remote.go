// Package remote has a worker's certificate signed by a control plane's trustd.
package remote

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"strconv"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/status"

	keys "github.com/dactyl-os/dactyl/proto/config/pki"
	respki "github.com/dactyl-os/dactyl/proto/resource/pki"
	securityapi "github.com/dactyl-os/dactyl/proto/security"
	"github.com/dactyl-os/dactyl/services/trustd/internal/pki"
)

const (
	// Port is trustd's on every control plane.
	Port = 50001
	// TokenKey is the metadata key under which the machine token travels.
	TokenKey = "token"
	// callTime bounds one endpoint.
	callTime = 4 * time.Second
	// stagger is when the next endpoint is asked as well.
	stagger = 300 * time.Millisecond
)

// ErrRefused marks the answer of a control plane that does not sign what it was asked for.
var ErrRefused = errors.New("refused")

// Signer asks control planes for signatures.
type Signer struct {
	Token     string
	Accepted  []*respki.Certificate
	Endpoints []string // hosts, or HOST:PORT
	Log       *slog.Logger
}

// Issue makes a key here and has a certificate for it signed there. The key
// never leaves the machine. Endpoints are asked in random order, each soon
// after the one before, and the first answer counts.
func (s *Signer) Issue(ctx context.Context, request pki.Request, _ time.Time) (pki.Pair, error) {
	if len(s.Endpoints) == 0 {
		return pki.Pair{}, errors.New("no control plane is known yet (cluster.controlPlane.endpoint, or members found by discovery)")
	}

	csr, key, err := pki.NewCSR(request)
	if err != nil {
		return pki.Pair{}, err
	}

	crt, err := s.race(ctx, csr)
	if err != nil {
		return pki.Pair{}, err
	}

	return pki.Pair{Crt: crt, Key: key}, nil
}

func (s *Signer) race(ctx context.Context, csr []byte) ([]byte, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()

	type answer struct {
		crt []byte
		err error
	}

	answers := make(chan answer, len(s.Endpoints))

	for i, n := range rand.Perm(len(s.Endpoints)) {
		go func() {
			select {
			case <-ctx.Done():
				answers <- answer{err: ctx.Err()}

				return
			case <-time.After(time.Duration(i) * stagger):
			}

			crt, err := s.ask(ctx, s.Endpoints[n], csr)
			answers <- answer{crt, err}
		}()
	}

	var errs []error

	for range s.Endpoints {
		got := <-answers
		if got.err == nil {
			return got.crt, nil
		}

		errs = append(errs, got.err)
	}

	return nil, errors.Join(errs...)
}

func (s *Signer) ask(ctx context.Context, endpoint string, csr []byte) ([]byte, error) {
	if _, _, err := net.SplitHostPort(endpoint); err != nil {
		endpoint = net.JoinHostPort(endpoint, strconv.Itoa(Port))
	}

	var cas [][]byte
	for _, ca := range s.Accepted {
		cas = append(cas, ca.Crt)
	}

	pool, err := pki.Pool(cas...)
	if err != nil {
		return nil, err
	}

	conn, err := grpc.NewClient("passthrough:///"+endpoint,
		grpc.WithTransportCredentials(credentials.NewTLS(&tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS13})),
		grpc.WithPerRPCCredentials(token(s.Token)))
	if err != nil {
		return nil, fmt.Errorf("call %s: %w", endpoint, err)
	}
	defer conn.Close()

	ctx, cancel := context.WithTimeout(ctx, callTime)
	defer cancel()

	answer, err := securityapi.NewSecurityServiceClient(conn).Certificate(ctx, &securityapi.CertificateRequest{Csr: csr})
	if err != nil {
		return nil, fmt.Errorf("ask %s for a certificate: %w", endpoint, explain(err))
	}

	if _, err := keys.ParseCertificate(answer.GetCrt()); err != nil {
		return nil, fmt.Errorf("read the answer of %s: %w", endpoint, err)
	}

	return answer.GetCrt(), nil
}

// explain keeps the sentence, drops gRPC's wrapping of it and says what to look at.
func explain(err error) error {
	s, ok := status.FromError(err)
	if !ok {
		return err
	}

	if strings.Contains(s.Message(), "x509: certificate signed by unknown authority") {
		return errors.New("its certificate is not signed by machine.ca or an accepted CA of this machine's configuration")
	}

	message := s.Message()
	if _, cause, wrapped := strings.Cut(message, `desc = "transport: `); wrapped {
		message = strings.TrimSuffix(cause, `"`)
	}

	if s.Code() == codes.PermissionDenied {
		return fmt.Errorf("%w: %s", ErrRefused, message)
	}

	return fmt.Errorf("%s (%s)", message, s.Code())
}

// token is the machine token as call credentials.
type token string

func (t token) GetRequestMetadata(context.Context, ...string) (map[string]string, error) {
	return map[string]string{TokenKey: string(t)}, nil
}

// RequireTransportSecurity keeps the token off the open wire.
func (token) RequireTransportSecurity() bool { return true }
