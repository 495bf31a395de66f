package proxy

import (
	"context"
	"errors"
	"sync"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// sessions are the open streams: they end when the gateway stops and when their caller is no longer trusted.
type sessions struct {
	mu      sync.Mutex
	open    map[*session]struct{}
	stopped bool
}

type session struct {
	check func() error
	end   context.CancelCauseFunc
}

// endedError is the cause of a stream that the gateway ended itself; its status goes to the caller.
type endedError struct{ status error }

func (e endedError) Error() string { return e.status.Error() }

var errStopping = status.Error(codes.Unavailable, "the gateway of this node is restarting: open the stream again")

func (s *sessions) enter(parent context.Context, check func() error) (context.Context, func(), error) {
	s.mu.Lock()
	defer s.mu.Unlock()

	if s.stopped {
		return nil, nil, errStopping
	}

	ctx, end := context.WithCancelCause(parent)
	entry := &session{check: check, end: end}
	s.open[entry] = struct{}{}

	return ctx, func() {
		s.mu.Lock()
		delete(s.open, entry)
		s.mu.Unlock()
		end(nil)
	}, nil
}

// Recheck ends the streams of callers who would not be let in any more.
func (p *Proxy) Recheck() {
	p.sessions.each(func(entry *session) error { return entry.check() })
}

// StopStreams ends every stream and refuses new ones; unary calls go on.
func (p *Proxy) StopStreams() {
	p.sessions.mu.Lock()
	p.sessions.stopped = true
	p.sessions.mu.Unlock()

	p.sessions.each(func(*session) error { return errStopping })
}

func (s *sessions) each(verdict func(*session) error) {
	s.mu.Lock()
	defer s.mu.Unlock()

	for entry := range s.open {
		if err := verdict(entry); err != nil {
			entry.end(endedError{status: err})
		}
	}
}

// ended gives the status of a stream that the gateway ended itself.
func ended(ctx context.Context) error {
	if ctx.Err() == nil {
		return nil
	}

	var cause endedError
	if errors.As(context.Cause(ctx), &cause) {
		return cause.status
	}

	return nil
}
