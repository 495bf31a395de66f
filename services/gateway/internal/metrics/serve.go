package metrics

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"time"

	"github.com/dactyl-os/dactyl/services/gateway/internal/caller"
	"github.com/dactyl-os/dactyl/services/gateway/internal/endpoint"
	"github.com/dactyl-os/dactyl/services/kit/access"
)

const (
	// Path is where the figures are, as Prometheus expects it.
	Path = "/metrics"

	maxHeader   = 8 << 10
	readTimeout = 5 * time.Second
	idleTimeout = 2 * time.Minute
	stopTimeout = time.Second
	// gathering is how many may be answered at once: each asks every daemon.
	gathering = 2
)

// Server answers HTTPS requests for the figures of a node.
type Server struct {
	Store  *endpoint.Store
	Source Source
	Log    *slog.Logger
}

// Serve serves until stopping is closed.
func (s *Server) Serve(stopping <-chan struct{}, listener net.Listener) error {
	mux := http.NewServeMux()
	mux.HandleFunc("GET "+Path, s.answer)

	places := make(chan struct{}, gathering)
	server := &http.Server{
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if code, err := s.admit(r); err != nil {
				http.Error(w, err.Error(), code)

				return
			}

			select {
			case places <- struct{}{}:
				defer func() { <-places }()

				mux.ServeHTTP(w, r)
			default:
				http.Error(w, "others are being answered: ask again later", http.StatusTooManyRequests)
			}
		}),
		TLSConfig:      s.Store.ServerTLS(),
		ReadTimeout:    readTimeout,
		WriteTimeout:   2 * readTimeout,
		IdleTimeout:    idleTimeout,
		MaxHeaderBytes: maxHeader,
		ErrorLog:       slog.NewLogLogger(s.Log.Handler(), slog.LevelDebug),
	}

	failed := make(chan error, 1)

	go func() { failed <- server.ServeTLS(endpoint.Bounded(listener), "", "") }()

	select {
	case err := <-failed:
		return fmt.Errorf("serve metrics on %s: %w", listener.Addr(), err)
	case <-stopping:
	}

	ctx, cancel := context.WithTimeout(context.Background(), stopTimeout)
	defer cancel()

	if server.Shutdown(ctx) != nil {
		return server.Close()
	}

	return nil
}

var (
	errNobody = errors.New("the figures of a node are told to who shows a client certificate")
	errRoles  = fmt.Errorf("not authorized: %s needs one of the roles %s, %s, %s", Path, access.Admin, access.Operator, access.Reader)
)

// admit lets those in who may read everything else that is no secret.
func (s *Server) admit(r *http.Request) (code int, err error) {
	if r.TLS == nil || len(r.TLS.PeerCertificates) == 0 {
		return http.StatusUnauthorized, errNobody
	}

	who := caller.FromChain(r.TLS.PeerCertificates)

	// The connection may be older than the certificates in force.
	if err := s.Store.Verify(who); err != nil {
		return http.StatusUnauthorized, err
	}

	if !slices.ContainsFunc(who.Roles, func(role string) bool {
		return role == access.Admin || role == access.Operator || role == access.Reader
	}) {
		return http.StatusForbidden, errRoles
	}

	return http.StatusOK, nil
}

func (s *Server) answer(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", ContentType)
	_, _ = w.Write(Text(s.Source.Gather(r.Context()))) // who has gone needs no answer
}
