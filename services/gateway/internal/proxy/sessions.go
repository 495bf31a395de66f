package proxy

import (
	"context"
	"errors"
	"sync"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/dactyl-os/dactyl/services/gateway/internal/caller"
	"github.com/dactyl-os/dactyl/services/kit/poke"
)

// sessions are the open streams: they end when the gateway stops and when their caller is no longer trusted.
type sessions struct {
	mu      sync.Mutex
	open    map[*session]struct{}
	stopped error
	// endings are the streams that this node ends by itself when it goes down; left is poked when one has ended.
	endings int
	left    poke.Chan
}

type session struct {
	who     *caller.AuthInfo
	end     context.CancelCauseFunc
	expires *time.Timer
}

// endedError is the cause of a stream that the gateway ended itself; its status goes to the caller.
type endedError struct{ status error }

func (e endedError) Error() string { return e.status.Error() }

var errStopping = status.Error(codes.Unavailable, "the gateway of this node is restarting: open the stream again")

// enter opens a stream, which ends with its caller's certificate at the latest.
func (s *sessions) enter(parent context.Context, who *caller.AuthInfo) (context.Context, func(), error) {
	s.mu.Lock()
	defer s.mu.Unlock()

	if s.stopped != nil {
		return nil, nil, s.stopped
	}

	ctx, end := context.WithCancelCause(parent)
	entry := &session{who: who, end: end}
	s.open[entry] = struct{}{}

	if who.Caller.Certificate != nil {
		entry.expires = time.AfterFunc(entry.remaining(), func() { s.expire(entry) })
	}

	return ctx, func() {
		s.mu.Lock()
		delete(s.open, entry)

		if entry.expires != nil {
			entry.expires.Stop()
		}

		s.mu.Unlock()
		end(nil)
	}, nil
}

// expire checks the caller when its certificate ends, and again if the clock was set back meanwhile.
func (s *sessions) expire(entry *session) {
	s.mu.Lock()
	defer s.mu.Unlock()

	if _, open := s.open[entry]; !open {
		return
	}

	if err := trusted(entry.who); err != nil {
		entry.end(endedError{status: err})
	} else {
		entry.expires.Reset(entry.remaining())
	}
}

// remaining is the time until the caller's certificate has ended; it is good until its last second is over.
func (s *session) remaining() time.Duration {
	return max(time.Second, time.Until(s.who.Caller.Certificate.NotAfter)+time.Second)
}

// trusted checks a caller again. Whose call another node's gateway carries did nothing wrong when that one's certificate is of the
// authority before: it has a new one by now, and the same call made again goes on.
func trusted(who *caller.AuthInfo) error {
	err := who.Check()
	if err != nil && who.Caller.Gateway() {
		return status.Errorf(codes.Unavailable, "the node in between has another certificate by now: make the call again (%s)", status.Convert(err).Message())
	}

	return err
}

// Recheck ends the streams of callers who would not be let in any more.
func (p *Proxy) Recheck() {
	p.sessions.each(func(entry *session) error { return trusted(entry.who) })
}

// StopStreams ends every stream and refuses new ones; unary calls go on. doing is what the node does, if it goes down: its
// streams of events have ended then with the last that it says, which reaches their callers until ctx ends.
func (p *Proxy) StopStreams(ctx context.Context, doing string) {
	reason := errStopping
	if doing != "" {
		reason = status.Errorf(codes.Unavailable, "this node is %s", doing)
	}

	p.sessions.mu.Lock()
	p.sessions.stopped = reason
	p.sessions.mu.Unlock()

	if doing != "" {
		p.sessions.awaitEndings(ctx)
	}

	p.sessions.each(func(*session) error { return reason })
}

// ending marks a stream that the node ends by itself, until the function is called.
func (s *sessions) ending() func() {
	add := func(n int) {
		s.mu.Lock()
		s.endings += n
		s.mu.Unlock()
	}

	add(1)

	return func() {
		add(-1)
		s.left.Poke()
	}
}

func (s *sessions) awaitEndings(ctx context.Context) {
	for {
		s.mu.Lock()
		endings := s.endings
		s.mu.Unlock()

		if endings == 0 {
			return
		}

		select {
		case <-s.left:
		case <-ctx.Done():
			return
		}
	}
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
