package daemon

import (
	"context"
	"errors"
	"runtime/debug"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/grpc/tap"

	"github.com/dactyl-os/dactyl/services/kit/access"
	"github.com/dactyl-os/dactyl/services/kit/dial"
	"github.com/dactyl-os/dactyl/services/kit/internal/frame"
	"github.com/dactyl-os/dactyl/services/kit/internal/peercred"
	"github.com/dactyl-os/dactyl/services/kit/peer"
)

const (
	// streamWorkers keep their grown stacks between calls; a call beyond them gets a goroutine of its own.
	streamWorkers = 4
	// bufferSize is per connection and direction: most messages are small, and there are many connections.
	bufferSize = 8 << 10
	// maxHeaders is the largest metadata of a call, in bytes: roles and what else the gateway passes on.
	maxHeaders = 64 << 10
	// streamGrace is how long an open stream may go on after the stop began.
	streamGrace = 200 * time.Millisecond
)

// newServer makes the gRPC server: who may call is decided before a call costs anything, panics become errors. Calls
// from outside the node are logged.
func newServer(env *Env, streams context.Context) *grpc.Server {
	return grpc.NewServer(
		grpc.Creds(peercred.Server(func(c peercred.Caller) string { return env.nameOf(c) })),
		grpc.ForceServerCodecV2(frame.Codec()),
		grpc.InTapHandle(admit),
		grpc.UnaryInterceptor(func(ctx context.Context, req any, info *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (resp any, err error) {
			begin := time.Now()

			defer func() { env.ended(ctx, info.FullMethod, begin, err) }()
			defer env.recovered(info.FullMethod, &err)

			if err := env.checkSize(info.FullMethod, req); err != nil {
				return nil, err
			}

			return handler(ctx, req)
		}),
		grpc.StreamInterceptor(func(srv any, stream grpc.ServerStream, info *grpc.StreamServerInfo, handler grpc.StreamHandler) error {
			return env.serveStream(streams, srv, stream, info, handler)
		}),
		grpc.MaxRecvMsgSize(access.MaxRequest(env.Name)),
		grpc.MaxHeaderListSize(maxHeaders),
		grpc.MaxSendMsgSize(dial.MaxMessage),
		grpc.NumStreamWorkers(streamWorkers),
		grpc.StaticStreamWindowSize(256<<10),
		grpc.StaticConnWindowSize(1<<20),
		grpc.ReadBufferSize(bufferSize),
		grpc.WriteBufferSize(bufferSize),
	)
}

// ended counts a call, and logs it when it came from outside.
func (e *Env) ended(ctx context.Context, method string, begin time.Time, err error) {
	e.calls.Count(method, err)

	if peer.Forwarded(ctx) {
		e.outside.Ended(method, begin, err, func() ([]string, string) { return peer.Roles(ctx), "" })
	}
}

// admit refuses processes that are nobody, callers outside whose roles do not suffice, and daemons that are not among the
// method's callers.
func admit(ctx context.Context, info *tap.Info) (context.Context, error) {
	p, ok := peer.FromContext(ctx)
	if !ok || p.Name == "" {
		return ctx, status.Errorf(codes.PermissionDenied,
			"process %d of user %d is none of this node's daemons and not in the cgroup of root's tools, but in %q", p.PID, p.UID, p.Cgroup)
	}

	switch {
	case p.Name == peer.Root:
		return ctx, nil
	case p.Name == peer.Gateway && peer.ForwardedIn(info.Header):
		return ctx, access.Check(info.FullMethodName, peer.RolesOf(ctx, info.Header))
	default:
		return ctx, access.CheckCaller(info.FullMethodName, p.Name)
	}
}

// serveStream runs a stream's handler; when the daemon stops, the stream ends with a code its client resumes from.
func (e *Env) serveStream(streams context.Context, srv any, stream grpc.ServerStream, info *grpc.StreamServerInfo, handler grpc.StreamHandler) (err error) {
	begin := time.Now()

	defer func() { e.ended(stream.Context(), info.FullMethod, begin, err) }()
	defer e.recovered(info.FullMethod, &err)

	ctx, cancel := context.WithCancel(stream.Context())
	defer cancel()

	defer context.AfterFunc(streams, cancel)()

	checked := boundedStream{stream, func(request any) error { return e.checkSize(info.FullMethod, request) }}
	err = handler(srv, &boundStream{checked, ctx})

	if streams.Err() != nil && stream.Context().Err() == nil && (err == nil || errors.Is(err, context.Canceled) || status.Code(err) == codes.Canceled) {
		return status.Errorf(codes.Unavailable, "%s is stopping", e.Name)
	}

	return err
}

type boundStream struct {
	grpc.ServerStream

	ctx context.Context //nolint:containedctx // what ServerStream.Context gives
}

// Context ends with the call or with the daemon.
func (s *boundStream) Context() context.Context { return s.ctx }

// recovered turns a handler's panic into an error of its call.
func (e *Env) recovered(method string, err *error) {
	if p := recover(); p != nil {
		e.Log.Error("panic in a method", "method", method, "panic", p, "stack", string(debug.Stack()))
		*err = status.Errorf(codes.Internal, "panic in %s: %v", method, p)
	}
}
