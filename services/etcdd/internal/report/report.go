// Package report tells init what etcd waits for, so that `service etcd` shows it.
package report

import (
	"context"
	"time"

	initv1 "github.com/dactyl-os/dactyl/proto/local/dactyl/init/v1"
	"github.com/dactyl-os/dactyl/services/kit/daemon"

	"github.com/dactyl-os/dactyl/services/etcdd/internal/keeper"
)

const (
	tellTimeout = 5 * time.Second
	retryAfter  = 2 * time.Second
)

// Reporter sends the newest status; older ones that were not sent yet are dropped.
type Reporter struct {
	env    *daemon.Env
	newest chan keeper.Status
}

// New makes a reporter.
func New(env *daemon.Env) *Reporter { return &Reporter{env: env, newest: make(chan keeper.Status, 1)} }

// Tell takes a status; only one goroutine may call it.
func (r *Reporter) Tell(s keeper.Status) {
	select {
	case <-r.newest:
	default:
	}

	r.newest <- s
}

// Run until ctx ends.
func (r *Reporter) Run(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case s := <-r.newest:
			r.env.Log.Info("etcd status", "message", s.Message, "ready", s.Ready, "learner", s.Learner)

			if !r.env.Alone() {
				r.send(ctx, s)
			}
		}
	}
}

// send tries until it was heard or there is something newer to tell.
func (r *Reporter) send(ctx context.Context, s keeper.Status) {
	for {
		err := r.report(ctx, s)
		if err == nil || ctx.Err() != nil {
			return
		}

		r.env.Log.Debug("report to init", "error", err)

		select {
		case <-ctx.Done():
			return
		case s = <-r.newest:
		case <-time.After(retryAfter):
		}
	}
}

func (r *Reporter) report(ctx context.Context, s keeper.Status) error {
	conn, err := r.env.Dial("init")
	if err != nil {
		return err
	}

	ctx, cancel := context.WithTimeout(ctx, tellTimeout)
	defer cancel()

	state := "Preparing"
	if s.Ready {
		state = "Running"
	}

	_, err = initv1.NewInitServiceClient(conn).Report(ctx, &initv1.ReportRequest{State: state, Message: s.Message})

	return err
}
