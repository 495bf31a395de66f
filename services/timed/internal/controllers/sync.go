// Package controllers runs timed: one controller keeps the clock right, the other tells the kernel's view of it.
package controllers

import (
	"context"
	"log/slog"
	"slices"
	"time"

	"github.com/cosi-project/runtime/pkg/controller"
	"github.com/cosi-project/runtime/pkg/safe"
	"go.uber.org/zap"

	"github.com/dactyl-os/dactyl/proto/resource/network"
	timeres "github.com/dactyl-os/dactyl/proto/resource/time"
	"github.com/dactyl-os/dactyl/services/kit/reconcile"
	"github.com/dactyl-os/dactyl/services/kit/router"

	"github.com/dactyl-os/dactyl/services/timed/internal/discipline"
	"github.com/dactyl-os/dactyl/services/timed/internal/sntp"
)

// Clock is what Sync may do to the system's clock.
type Clock interface {
	Step(offset time.Duration) error
	Slew(offset, poll time.Duration) error
}

// Sync asks the time servers, corrects the clock where it may, and tells whether the clock is right.
//
// Inputs: TimeServerStatus (networkd), MachineConfig (configd). Output: time Status.
type Sync struct {
	// Platform is talos.platform; MaySet that the clock is this daemon's to set.
	Platform string
	MaySet   bool
	Clock    Clock
	Log      *slog.Logger

	servers []string
	config  timeConfig
	mode    discipline.Mode
	reason  string
	state   discipline.State
	started time.Time
	told    reconcile.Told
}

// result is the end of one measurement.
type result struct {
	answer sntp.Answer
	err    error
}

// Name is the owner of the outputs.
func (*Sync) Name() string { return "time.SyncController" }

// Inputs of the controller.
func (*Sync) Inputs() []controller.Input {
	return []controller.Input{
		reconcile.Input(network.NamespaceName, network.TimeServerStatusType, network.TimeServerID),
		reconcile.MachineConfigInput(),
	}
}

// Outputs of the controller.
func (*Sync) Outputs() []controller.Output {
	return []controller.Output{{Type: timeres.StatusType, Kind: controller.OutputExclusive}}
}

// Run measures at the times the state asks for, and follows its inputs meanwhile.
func (c *Sync) Run(ctx context.Context, r controller.Runtime, _ *zap.Logger) error {
	timer := time.NewTimer(time.Hour) // set as soon as the inputs are known
	defer timer.Stop()

	results := make(chan result, 1)
	asking := false
	c.started = time.Now()

	for {
		select {
		case <-ctx.Done():
			return nil
		case <-r.EventCh():
			changed, err := c.follow(ctx, r)
			if err != nil && !router.IsUnknown(err) {
				return err
			}

			if changed {
				timer.Reset(0)
			}
		case <-timer.C:
			if !asking && c.mode != discipline.Off && len(c.servers) > 0 {
				asking = true

				go func(servers []string) {
					answer, err := sntp.Several(ctx, servers)
					results <- result{answer, err}
				}(slices.Clone(c.servers))
			}
		case res := <-results:
			asking = false

			timer.Reset(c.take(res))
		}

		if err := c.publish(ctx, r); err != nil {
			return err
		}

		r.ResetRestartBackoff()
		c.wakeAtBootTimeout(ctx, r)
	}
}

// follow reads the inputs and reports whether to measure anew.
func (c *Sync) follow(ctx context.Context, r controller.Reader) (changed bool, err error) {
	cfg, err := readConfig(ctx, r)
	if err != nil {
		return false, err
	}

	servers, err := Servers(ctx, r)
	if err != nil {
		return false, err
	}

	before := c.servers
	c.config, c.servers = cfg, servers

	mode, reason := discipline.ModeOf(discipline.Facts{Platform: c.Platform, Disabled: c.config.Disabled, MaySet: c.MaySet})
	if reason != c.reason {
		c.Log.Info("clock", "mode", reason)
	}

	changed = mode != c.mode || !slices.Equal(before, c.servers)
	c.mode, c.reason = mode, reason

	return changed, nil
}

// take acts on a measurement and gives the time until the next.
func (c *Sync) take(res result) time.Duration {
	if res.err != nil {
		c.state = c.state.Failed()
		c.tell(res.err.Error())

		return c.state.Poll
	}

	c.tell("")

	was := c.state
	next, action := c.state.Measured(c.mode, discipline.Sample{Offset: res.answer.Offset, RoundTrip: res.answer.RoundTrip})

	if err := c.correct(action, res.answer.Offset, next.Poll); err != nil {
		c.state = c.state.Failed()
		c.tell(err.Error())

		return c.state.Poll
	}

	c.state = next

	if action == discipline.Step || was.Synced != next.Synced || was.Poll == 0 {
		c.Log.Info("clock measured", "server", res.answer.Server, "offset", res.answer.Offset,
			"action", action.String(), "synced", next.Synced)
	}

	return next.Poll
}

func (c *Sync) correct(action discipline.Action, offset, poll time.Duration) error {
	switch action {
	case discipline.Step:
		return c.Clock.Step(offset)
	case discipline.Slew:
		return c.Clock.Slew(offset, poll)
	default:
		return nil
	}
}

// tell logs a failure once, until it changes.
func (c *Sync) tell(failure string) {
	if c.told.News("", failure) {
		c.Log.Warn("clock is not measured", "error", failure)
	}
}

func (c *Sync) publish(ctx context.Context, w controller.Writer) error {
	status := c.status(time.Now())

	return safe.WriterModify(ctx, w, timeres.NewStatus(timeres.NamespaceName, timeres.StatusID), func(r *timeres.Status) error {
		*r.TypedSpec() = status

		return nil
	})
}

// status: where synchronisation is off the clock counts as right, and after the boot time-out nobody shall wait longer.
func (c *Sync) status(now time.Time) timeres.StatusSpec {
	off := c.mode == discipline.Off
	timedOut := c.config.BootTimeout > 0 && now.Sub(c.started) >= c.config.BootTimeout

	return timeres.StatusSpec{
		Synced:       off || c.state.Synced || timedOut,
		Epoch:        c.state.Epoch,
		SyncDisabled: off,
	}
}

// wakeAtBootTimeout asks for an event when the boot time-out is over.
func (c *Sync) wakeAtBootTimeout(ctx context.Context, r controller.Runtime) {
	left := time.Until(c.started.Add(c.config.BootTimeout))
	if c.config.BootTimeout == 0 || left <= 0 || c.state.Synced {
		return
	}

	time.AfterFunc(left, func() {
		if ctx.Err() == nil {
			r.QueueReconcile()
		}
	})
}
