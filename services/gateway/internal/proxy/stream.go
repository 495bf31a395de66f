package proxy

import (
	"context"
	"errors"
	"io"
	"sync"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/dactyl-os/dactyl/proto/machine"
	"github.com/dactyl-os/dactyl/services/gateway/internal/raw"
	"github.com/dactyl-os/dactyl/services/gateway/internal/route"
	"github.com/dactyl-os/dactyl/services/gateway/internal/wire"
)

// download serves a call with one request and a stream of answers.
func (c *call) download(ctx context.Context) error {
	request, err := c.request()
	if err != nil {
		return err
	}

	defer request.Free()

	if c.plan.Reach == route.Many {
		return c.interleave(ctx, request)
	}

	ctx, cancel := context.WithCancel(ctx)
	defer cancel()

	upstream, err := c.follow(ctx, c.single(), request, c.answer)
	if upstream != nil {
		c.stream.SetTrailer(own(upstream.Trailer()))
	}

	return err
}

// follow sends every message of one target's stream until it ends; its good end is no error.
func (c *call) follow(
	ctx context.Context, target string, request *raw.Frame, send func(any) error,
) (grpc.ClientStream, error) {
	stream, err := c.durable(ctx, target, request, send)
	if c.empty(err) {
		return c.silence(ctx, target, request, send)
	}

	return stream, err
}

// durable is relay for what can be asked for again when it breaks off.
func (c *call) durable(
	ctx context.Context, target string, request *raw.Frame, send func(any) error,
) (grpc.ClientStream, error) {
	switch method := c.plan.Method; {
	case method.State && method.Short == "List":
		return c.list(ctx, target, request, send)
	case method.State && method.Short == "Watch" && c.here(target):
		return c.watch(ctx, request, send)
	default:
		return c.relay(ctx, target, request, send)
	}
}

// relay is follow for a daemon that is on its node.
func (c *call) relay(
	ctx context.Context, target string, request *raw.Frame, send func(any) error,
) (grpc.ClientStream, error) {
	conn, ctx, err := c.target(ctx, target, request)
	if err != nil {
		return nil, err
	}

	defer conn.Done()

	if c.plan.Method.Name == machine.MachineService_Events_FullMethodName && c.here(target) {
		defer c.proxy.sessions.ending()()
	}

	desc := &grpc.StreamDesc{StreamName: c.plan.Method.Short, ServerStreams: true}

	patience := newPatience(ctx, conn.Name())
	stream, message, err := conn.Stream(patience.ctx, desc, c.plan.Method.Name, request, c.plan.Method.Idempotent)

	patience.answered()

	err = patience.explain(err, c.info.Local)
	if err == nil && c.plan.Reach != route.Many && !c.begun {
		err = c.passHeader(stream)
		c.begun = true
	}

	opened := err == nil

	for sent := 0; err == nil; {
		sent += message.Len()
		err = c.sendOn(message, sent, conn.Window, send)
		message.Free()

		if err == nil {
			message = new(raw.Frame)
			err = stream.RecvMsg(message)
		}
	}

	if errors.Is(err, io.EOF) {
		err = nil
	}

	if opened {
		err = conn.Ended(stream, err)
	}

	return stream, err
}

// sendOn sends one message of a stream on. Of a stream that has sent more than gRPC takes at once, what the other side has sent
// meanwhile is in the caller's hand while its reader does not read.
func (c *call) sendOn(message *raw.Frame, sent, window int, send func(any) error) error {
	if sent <= sendQuota {
		return send(message)
	}

	if err := c.hand.Hold(window); err != nil {
		return err
	}

	defer c.hand.Release(window)

	return send(message)
}

// sendQuota is what gRPC's server takes of a stream whose reader does not read.
const sendQuota = 64 << 10

func (c *call) passHeader(stream grpc.ClientStream) error {
	header, err := stream.Header()
	if err != nil {
		return err
	}

	return c.pass(header, nil)
}

// interleave follows every target at once; each message carries its target's name.
func (c *call) interleave(ctx context.Context, request *raw.Frame) error {
	// One caller that is gone ends the streams of all targets.
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()

	var (
		group  sync.WaitGroup
		mu     sync.Mutex
		failed error
	)

	send := func(message any) error {
		mu.Lock()
		defer mu.Unlock()

		if failed == nil {
			if failed = c.answer(message); failed != nil {
				cancel()
			}
		}

		return failed
	}

	for _, target := range c.plan.Targets {
		group.Go(func() {
			stamp := wire.Hostname(target)

			_, err := c.follow(ctx, target, request, func(message any) error {
				message.(*raw.Frame).Append(stamp) //nolint:forcetypeassert // follow sends frames

				return send(message)
			})
			if err != nil && ctx.Err() == nil {
				_ = send(raw.FromBytes(wire.Failure(target, err))) // kept in failed
			}
		})
	}

	group.Wait()

	if failed == nil {
		failed = ctx.Err()
	}

	return failed
}

// upload serves a call with a stream of requests, such as a snapshot to recover from: it goes to one node.
func (c *call) upload(ctx context.Context) error {
	target := c.single()

	if c.plan.Reach == route.Many {
		if target = c.plan.Targets[0]; len(c.plan.Targets) > 1 {
			return status.Errorf(codes.InvalidArgument, "%s sends data to one node, got %d", c.plan.Method.Name, len(c.plan.Targets))
		}
	}

	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)

	conn, ctx, err := c.target(ctx, target, nil)
	if err != nil {
		return c.uploadFailed(target, err)
	}

	defer conn.Done()

	desc := &grpc.StreamDesc{
		StreamName: c.plan.Method.Short, ClientStreams: true, ServerStreams: c.plan.Method.ServerStreaming,
	}

	stream, err := conn.Open(ctx, desc, c.plan.Method.Name)
	if err != nil {
		return c.uploadFailed(target, err)
	}

	go func() {
		if err := c.pump(stream); err != nil {
			cancel(err)
		}
	}()

	for more := true; more; more = desc.ServerStreams {
		answer := new(raw.Frame)

		if err := stream.RecvMsg(answer); err != nil {
			c.stream.SetTrailer(own(stream.Trailer()))

			return c.uploadEnded(ctx, target, err)
		}

		if err := c.answerUpload(target, answer); err != nil {
			return err
		}
	}

	return nil
}

// pump moves the caller's messages on until it has sent the last one.
func (c *call) pump(stream grpc.ClientStream) error {
	for {
		message, err := c.receive()
		if errors.Is(err, io.EOF) {
			return stream.CloseSend()
		}

		if err != nil {
			return err
		}

		size := message.Len()
		err = stream.SendMsg(message)
		message.Free()
		c.hand.Release(size)

		// The answer tells why the other side takes no more.
		if errors.Is(err, io.EOF) {
			return nil
		}

		if err != nil {
			return err
		}
	}
}

func (c *call) answerUpload(target string, answer *raw.Frame) error {
	defer answer.Free()

	if c.plan.Reach != route.Many {
		return c.answer(answer)
	}

	data, release := answer.Bytes()
	defer release()

	stamped, err := wire.AppendStamped(nil, data, wire.Hostname(target))
	if err != nil {
		return status.Errorf(codes.Internal, "answer of %s: %v", target, err)
	}

	return c.answer(raw.FromBytes(stamped))
}

// uploadEnded tells why there is no further answer; a good end is no error.
func (c *call) uploadEnded(ctx context.Context, target string, err error) error {
	if errors.Is(err, io.EOF) {
		return nil
	}

	// What the caller did wrong is told as such, not as the end of the stream that follows from it.
	if _, own := status.FromError(context.Cause(ctx)); own && ctx.Err() != nil {
		err = context.Cause(ctx)
	}

	return c.uploadFailed(target, err)
}

func (c *call) uploadFailed(target string, err error) error {
	err = c.absence(err)

	if c.plan.Reach != route.Many {
		return err
	}

	return c.answer(raw.FromBytes(wire.Element(wire.Failure(target, err))))
}
