// Package upstream holds the gateway's own connections: to the daemons of this node and to the gateways of others.
package upstream

import (
	"context"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/connectivity"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/dactyl-os/dactyl/services/gateway/internal/raw"
	"github.com/dactyl-os/dactyl/services/kit/backoff"
)

const (
	firstPause = 2 * time.Millisecond
	maxPause   = 100 * time.Millisecond
	// revival is how long a call waits for a server that failed the last time it was dialled: one that is back answers
	// sooner, and one that is still down must not keep every caller.
	revival = time.Second
)

// Answer is what a unary call brought back.
type Answer struct {
	Frame           *raw.Frame
	Header, Trailer metadata.MD
}

// Conn is a connection to one server, made and repaired when needed.
type Conn struct {
	// Window is how many bytes of one stream the other side may have sent before they are read.
	Window int

	name string
	cc   *grpc.ClientConn
	// patience is how long a call waits for a server that went away while its name still stands.
	patience time.Duration
	// await waits for the connection before each try; nil leaves it to gRPC, which fails when the first dial fails.
	await func(ctx context.Context) error
	// done ends one use; nil for connections that are kept.
	done func()
	// gone explains a call that the server took and did not answer.
	gone func(err error) error
}

// Name is the daemon's, or "node" and the other node's.
func (c *Conn) Name() string { return c.name }

// Done ends the use of a connection that Get gave.
func (c *Conn) Done() {
	if c.done != nil {
		c.done()
	}
}

// Invoke makes a unary call. A broken connection is repaired and the call is made again when again allows it: the method
// changes nothing, so it does not matter whether the server had done its work.
func (c *Conn) Invoke(ctx context.Context, method string, request *raw.Frame, again bool) (Answer, error) {
	var answer Answer

	err := c.retry(ctx, again, func() (bool, error) {
		answer = Answer{Frame: new(raw.Frame)}

		err := c.cc.Invoke(ctx, method, request, answer.Frame, grpc.Header(&answer.Header), grpc.Trailer(&answer.Trailer))

		return lost(err, answer.Header, answer.Trailer), err
	})

	return answer, err
}

// Stream opens a stream, sends first when there is one and gives the stream together with its first message; a nil
// message means that the stream ended with err, io.EOF being its good end.
func (c *Conn) Stream(
	ctx context.Context, desc *grpc.StreamDesc, method string, first *raw.Frame, again bool,
) (stream grpc.ClientStream, message *raw.Frame, err error) {
	err = c.retry(ctx, again, func() (bool, error) {
		if stream, err = c.cc.NewStream(ctx, desc, method); err != nil {
			return lost(err, nil, nil), err
		}

		// A failed send says only io.EOF; the receive tells why.
		if stream.SendMsg(first) == nil {
			_ = stream.CloseSend() // same
		}

		message = new(raw.Frame)
		if err = stream.RecvMsg(message); err == nil {
			return false, nil
		}

		message = nil
		header, _ := stream.Header() // the receive has told

		return lost(err, header, stream.Trailer()), err
	})

	return stream, message, err
}

// Ended explains the end of a stream whose messages were coming: where the connection broke, who it was.
func (c *Conn) Ended(stream grpc.ClientStream, err error) error {
	if stream == nil || status.Code(err) != codes.Unavailable || len(stream.Trailer()) > 0 {
		return err
	}

	return c.gone(err)
}

// Open opens a stream without sending anything.
func (c *Conn) Open(ctx context.Context, desc *grpc.StreamDesc, method string) (grpc.ClientStream, error) {
	var stream grpc.ClientStream

	err := c.retry(ctx, false, func() (bool, error) {
		var err error

		stream, err = c.cc.NewStream(ctx, desc, method)

		return lost(err, nil, nil), err
	})

	return stream, err
}

// retry runs try until it ends otherwise than by a broken connection, at most for the connection's patience.
func (c *Conn) retry(ctx context.Context, again bool, try func() (bool, error)) error {
	var deadline time.Time

	for pauses := (backoff.Backoff{First: firstPause, Most: maxPause}); ; {
		if c.await != nil {
			if err := c.await(ctx); err != nil {
				return err
			}
		}

		c.revive(ctx)

		// A server that was not there to begin with is down; only one that went away is expected back.
		expected := c.await != nil || c.cc.GetState() == connectivity.Ready

		broken, err := try()
		if !broken {
			return err
		}

		if deadline.IsZero() {
			deadline = time.Now().Add(c.patience)
		}

		// What a handshake has refused was never asked.
		if worthwhile := again && expected || strangers(err); !worthwhile || time.Now().After(deadline) {
			return c.gone(err)
		}

		if !pauses.Sleep(ctx) {
			return status.FromContextError(ctx.Err()).Err()
		}
	}
}

// strangers tells two nodes of which one does not know the authority of the other. When it is replaced, nodes take the new one up one
// after the other, and an instant later they know each other.
func strangers(err error) bool {
	message := status.Convert(err).Message()

	return strings.Contains(message, "tls: unknown certificate authority") || strings.Contains(message, "x509: certificate signed by unknown authority")
}

// revive dials at once where gRPC would answer with its last failure until the pause between its attempts is over.
func (c *Conn) revive(ctx context.Context) {
	if c.cc.GetState() != connectivity.TransientFailure {
		return
	}

	ctx, cancel := context.WithTimeout(ctx, revival)
	defer cancel()

	c.cc.ResetConnectBackoff()
	c.cc.WaitForStateChange(ctx, connectivity.TransientFailure)
}

// lost tells a broken connection from a server that answers Unavailable: an answer always brings metadata, at least its
// content type.
func lost(err error, header, trailer metadata.MD) bool {
	return status.Code(err) == codes.Unavailable && len(header) == 0 && len(trailer) == 0
}
