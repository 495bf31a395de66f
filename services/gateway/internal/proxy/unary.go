package proxy

import (
	"context"
	"fmt"
	"sync"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/dactyl-os/dactyl/services/gateway/internal/raw"
	"github.com/dactyl-os/dactyl/services/gateway/internal/route"
	"github.com/dactyl-os/dactyl/services/gateway/internal/upstream"
	"github.com/dactyl-os/dactyl/services/gateway/internal/wire"
)

func (c *call) unary(ctx context.Context) error {
	request, err := c.request()
	if err != nil {
		return err
	}

	defer request.Free()

	if c.plan.Reach == route.Many {
		return c.merge(ctx, request)
	}

	answer, err := c.invoke(ctx, c.single(), request)

	if err := c.pass(answer.Header, answer.Trailer); err != nil {
		return err
	}

	if err != nil {
		return err
	}

	defer answer.Frame.Free()

	return c.answer(answer.Frame)
}

func (c *call) invoke(ctx context.Context, target string, request *raw.Frame) (upstream.Answer, error) {
	conn, ctx, err := c.target(ctx, target, request)
	if err != nil {
		return upstream.Answer{}, c.absence(err)
	}

	defer conn.Done()

	patience := newPatience(ctx, conn.Name())
	defer patience.answered()

	answer, err := conn.Invoke(patience.ctx, c.plan.Method.Name, request, c.plan.Method.Idempotent)

	return answer, patience.explain(c.absence(err), c.info.Local)
}

// merge asks every target and sends one answer with all their messages, each with its target's name. A target that
// fails has a message that says so; the call itself succeeds.
func (c *call) merge(ctx context.Context, request *raw.Frame) error {
	targets := c.plan.Targets
	parts := make([][]byte, len(targets))

	if len(targets) == 1 {
		parts[0] = c.part(ctx, targets[0], request)
	} else {
		var group sync.WaitGroup

		for i, target := range targets {
			group.Go(func() { parts[i] = c.part(ctx, target, request) })
		}

		group.Wait()
	}

	merged := raw.FromBytes(parts[0])
	for _, part := range parts[1:] {
		merged.Append(part)
	}

	return c.answer(merged)
}

// part is one target's share of the merged answer.
func (c *call) part(ctx context.Context, target string, request *raw.Frame) []byte {
	answer, err := c.invoke(ctx, target, request)
	if err != nil {
		return wire.Element(wire.Failure(target, err))
	}

	defer answer.Frame.Free()

	if err := c.hand.Hold(answer.Frame.Len()); err != nil {
		return wire.Element(wire.Failure(target, err))
	}

	data, release := answer.Frame.Bytes()
	defer release()

	stamp := wire.Hostname(target)

	length, err := wire.Stamped(data, len(stamp))
	if err != nil {
		return wire.Element(wire.Failure(target, status.Error(codes.Internal, fmt.Sprintf("answer of %s: %v", target, err))))
	}

	part, _ := wire.AppendStamped(make([]byte, 0, length), data, stamp) // the length was taken

	return part
}

// pass hands response metadata on.
func (c *call) pass(header, trailer metadata.MD) error {
	if header = own(header); len(header) > 0 {
		if err := c.stream.SetHeader(header); err != nil {
			return err
		}
	}

	if trailer = own(trailer); len(trailer) > 0 {
		c.stream.SetTrailer(trailer)
	}

	return nil
}

// own removes what the transport sets itself.
func own(md metadata.MD) metadata.MD {
	delete(md, "content-type")

	return md
}
