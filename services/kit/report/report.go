// Package report tells init what a daemon does or waits for, so that `service NAME` and the machine's status show it.
package report

import (
	"context"
	"time"

	initv1 "github.com/dactyl-os/dactyl/proto/local/dactyl/init/v1"
	"github.com/dactyl-os/dactyl/services/kit/daemon"
)

const (
	tellTimeout = 5 * time.Second
	retryAfter  = 2 * time.Second
)

// Reporter sends the newest status; older ones that were not sent yet are dropped.
type Reporter struct {
	env    *daemon.Env
	newest chan *initv1.ReportRequest
}

// New makes a reporter.
func New(env *daemon.Env) *Reporter {
	return &Reporter{env: env, newest: make(chan *initv1.ReportRequest, 1)}
}

// Tell takes a state, such as Preparing, Waiting, Running or Failed, and a sentence; only one goroutine at a time may call it.
func (r *Reporter) Tell(state, message string) {
	select {
	case <-r.newest:
	default:
	}

	r.newest <- &initv1.ReportRequest{State: state, Message: message}
}

// Run until ctx ends. A daemon that runs alone has nobody to tell.
func (r *Reporter) Run(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case told := <-r.newest:
			if !r.env.Alone() {
				r.send(ctx, told)
			}
		}
	}
}

// send tries until it was heard or there is something newer to tell.
func (r *Reporter) send(ctx context.Context, told *initv1.ReportRequest) {
	for {
		err := r.report(ctx, told)
		if err == nil || ctx.Err() != nil {
			return
		}

		r.env.Log.Debug("report to init", "error", err)

		select {
		case <-ctx.Done():
			return
		case told = <-r.newest:
		case <-time.After(retryAfter):
		}
	}
}

func (r *Reporter) report(ctx context.Context, told *initv1.ReportRequest) error {
	conn, err := r.env.Dial("init")
	if err != nil {
		return err
	}

	ctx, cancel := context.WithTimeout(ctx, tellTimeout)
	defer cancel()

	_, err = initv1.NewInitServiceClient(conn).Report(ctx, told)

	return err
}
