package client

import (
	"context"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/dactyl-os/dactyl/services/kit/access"
	"github.com/dactyl-os/dactyl/services/kit/backoff"
)

const (
	// dialTimeout bounds one attempt to connect.
	dialTimeout = 5 * time.Second
	// attempts of an idempotent call, in about two seconds: a gateway or a daemon that restarts is back by then.
	attempts = 5
)

// pauses between attempts.
func pauses() backoff.Backoff {
	return backoff.Backoff{First: 200 * time.Millisecond, Most: time.Second}
}

// heals says whether a failed call may succeed when it is made again soon: something is restarting. A certificate that is refused, a
// name that nobody knows or a node that the gateway waited for in vain are told at once.
func heals(err error) bool {
	s := status.Convert(err)
	if s.Code() != codes.Unavailable {
		return false
	}

	if _, _, ofNode := aboutNode(s.Message()); ofNode {
		return false
	}

	f := failureOf(s.Message())

	return f == nil || f.heals
}

// idempotent says whether a method may be called again, by its descriptor.
func idempotent(method string) bool { return access.Methods()[method].Idempotent }

func retryUnary(ctx context.Context, method string, req, reply any, cc *grpc.ClientConn, invoker grpc.UnaryInvoker, opts ...grpc.CallOption) error {
	pause := pauses()

	for left := attempts; ; left-- {
		err := invoker(ctx, method, req, reply, cc, opts...)
		if err == nil || left == 1 || !idempotent(method) || !heals(err) || !pause.Sleep(ctx) {
			return err
		}
	}
}

func retryStream(ctx context.Context, desc *grpc.StreamDesc, cc *grpc.ClientConn, method string, streamer grpc.Streamer, opts ...grpc.CallOption) (grpc.ClientStream, error) {
	if desc.ClientStreams || !idempotent(method) {
		return streamer(ctx, desc, cc, method, opts...)
	}

	s := &retriedStream{ctx: ctx, left: attempts, pause: pauses(), open: func() (grpc.ClientStream, error) { return streamer(ctx, desc, cc, method, opts...) }}

	return s, s.begin()
}

// retriedStream is a stream of answers that begins again until the first of them is there.
type retriedStream struct {
	grpc.ClientStream

	ctx     context.Context //nolint:containedctx // that of the stream
	open    func() (grpc.ClientStream, error)
	request any
	left    int
	pause   backoff.Backoff
	begun   bool
}

// begin opens the stream, again if need be.
func (s *retriedStream) begin() (err error) {
	for {
		s.left--

		if s.ClientStream, err = s.open(); err == nil || s.left <= 0 || !heals(err) || !s.pause.Sleep(s.ctx) {
			return err
		}
	}
}

func (s *retriedStream) SendMsg(m any) error {
	s.request = m

	return s.ClientStream.SendMsg(m)
}

func (s *retriedStream) RecvMsg(m any) error {
	for {
		err := s.ClientStream.RecvMsg(m)
		if err == nil || s.begun || s.left <= 0 || !heals(err) || !s.pause.Sleep(s.ctx) {
			s.begun = true

			return err
		}

		if err := s.begin(); err != nil {
			return err
		}

		if err := s.ClientStream.SendMsg(s.request); err != nil {
			return err
		}

		if err := s.CloseSend(); err != nil {
			return err
		}
	}
}
