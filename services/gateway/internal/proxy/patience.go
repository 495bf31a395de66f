package proxy

import (
	"context"
	"errors"
	"net"
	"strings"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

const (
	// Who does not answer is given up a little before the caller gives up, so that the caller learns who it was, and has the
	// answers of the others.
	marginShare = 10
	maxMargin   = 500 * time.Millisecond
)

var errLate = errors.New("no answer in time")

// patience is how long a call waits for the first answer of a target: until shortly before the caller's deadline.
type patience struct {
	ctx   context.Context //nolint:containedctx // what the call is made with
	name  string
	timer *time.Timer
	whole time.Duration
}

func newPatience(ctx context.Context, name string) *patience {
	deadline, ok := ctx.Deadline()
	if !ok {
		return &patience{ctx: ctx, name: name}
	}

	ctx, cancel := context.WithCancelCause(ctx)
	remaining := time.Until(deadline)
	margin := min(remaining/marginShare, maxMargin)

	// Another node's gateway gives up as early, and knows which daemon it was.
	if strings.HasPrefix(name, "node ") {
		margin /= 2
	}

	whole := remaining - margin

	return &patience{ctx: ctx, name: name, whole: whole, timer: time.AfterFunc(whole, func() { cancel(errLate) })}
}

// answered ends the wait.
func (p *patience) answered() {
	if p.timer != nil {
		p.timer.Stop()
	}
}

// explain says who it was that did not answer; local is the address of this node that the caller knows.
func (p *patience) explain(err error, local net.Addr) error {
	if err == nil || !errors.Is(context.Cause(p.ctx), errLate) {
		return err
	}

	waited := p.whole.Round(time.Millisecond)
	if strings.HasPrefix(p.name, "node ") {
		return status.Errorf(codes.DeadlineExceeded, "%s has not answered for %s", p.name, waited)
	}

	host, _, splitErr := net.SplitHostPort(local.String())
	if splitErr != nil {
		host = local.String()
	}

	return status.Errorf(codes.DeadlineExceeded, "%s on %s has not answered for %s; see: service %s", p.name, host, waited, p.name)
}
