package proxy

import (
	"context"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/dactyl-os/dactyl/proto/machine"
	"github.com/dactyl-os/dactyl/services/gateway/internal/raw"
	"github.com/dactyl-os/dactyl/services/gateway/internal/upstream"
)

// appearInterval is how soon a watch sees that the owner of its type has come to the node.
const appearInterval = time.Second

// empty tells whether a call failed for want of the daemon that owns the resource type: the type is known, and there is none
// of it. Clients that ask for several types would lose their whole answer by an error.
func (c *call) empty(err error) bool {
	return c.plan.Method.State && upstream.IsAbsent(err)
}

// nothing answers Get of a type whose owner is not on the node. Writes keep the error.
func (c *call) nothing(err error) error {
	if c.plan.Method.Short != "Get" {
		return err
	}

	return status.Errorf(codes.NotFound, "resource doesn't exist: %s", status.Convert(err).Message())
}

// absence says what a daemon that is not on the node means for the caller.
func (c *call) absence(err error) error {
	switch {
	case !upstream.IsAbsent(err):
		return err
	case c.plan.Method.State:
		return c.nothing(err)
	case c.plan.Method.Name == machine.MachineService_Bootstrap_FullMethodName,
		c.plan.Method.Name == machine.MachineService_EtcdRecover_FullMethodName:
		return status.Error(codes.FailedPrecondition, "bootstrap can only be performed on a control plane node")
	default:
		return err
	}
}

// silence answers List and Watch of a type whose owner is not on the node: a list has no items, a watch is silent until the
// owner comes.
func (c *call) silence(ctx context.Context, target string, request *raw.Frame, send func(any) error) (grpc.ClientStream, error) {
	if c.plan.Method.Short != "Watch" {
		return nil, nil //nolint:nilnil // there is no stream behind a list of nothing
	}

	// An empty message says that the watch is established.
	if err := send(new(raw.Frame)); err != nil {
		return nil, err
	}

	c.begun = true

	tick := time.NewTicker(appearInterval)
	defer tick.Stop()

	for {
		select {
		case <-ctx.Done():
			return nil, status.FromContextError(ctx.Err()).Err()
		case <-tick.C:
		}

		established := false

		stream, err := c.relay(ctx, target, request, func(message any) error {
			if !established {
				established = true

				return nil
			}

			return send(message)
		})
		if !c.empty(err) {
			return stream, err
		}
	}
}
