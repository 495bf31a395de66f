// Package controllers runs diskd: it looks at the disks, takes the plan's steps and publishes what came of it.
package controllers

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/dactyl-os/dactyl/proto/resource/enums"

	"github.com/dactyl-os/dactyl/services/diskd/internal/disk"
	"github.com/dactyl-os/dactyl/services/diskd/internal/plan"
	"github.com/dactyl-os/dactyl/services/diskd/internal/volume"
	"github.com/dactyl-os/dactyl/services/kit/backoff"
)

// How long disks are waited for before what is not there is missing. Where the drivers' end is known, hostd has waited for
// what comes late, and only a disk that has just come is left to look at.
const (
	settleWithDisks = 1500 * time.Millisecond
	settleDriven    = 200 * time.Millisecond
	settleWithout   = 5 * time.Second
)

// A step that failed is tried again after retryFirst, then at doubled times up to retryMax.
const (
	retryFirst = 2 * time.Second
	retryMax   = time.Minute
)

// rounds bounds how often the plan is made anew within one pass; a new disk takes six.
const rounds = 20

// Disks is what the engine looks at and works on.
type Disks interface {
	Disks() ([]disk.Disk, error)
	Apply(ctx context.Context, op plan.Op) error
}

// View is what a pass came to.
type View struct {
	Disks []disk.Disk
	Out   plan.Output
}

// Engine takes the plan's steps until none is left. One pass runs at a time.
type Engine struct {
	System Disks
	Log    *slog.Logger
	// Settle is talos.device.settle_time: how long to wait for disks at least.
	Settle time.Duration
	Now    func() time.Time
	// Drivers tells whether every driver has looked for its disks; nil: nobody loads drivers here.
	Drivers func() bool
	// Mounted prepares what daemons own on a volume, before anybody is told of it; nil: nobody does here.
	Mounted func(ctx context.Context, target string) error

	mu      sync.Mutex
	failed  map[string]failure // by volume
	names   string
	began   time.Time
	changed time.Time
	settles time.Time
	closed  bool
	mounted map[string]bool // what Mounted has prepared
}

type failure struct {
	err   error
	until time.Time
	retry backoff.Backoff
}

// Pass takes every step that a configuration asks for. Steps that fail are in the View, not in the error.
func (e *Engine) Pass(ctx context.Context, cfg *volume.Config) (View, error) {
	e.mu.Lock()
	defer e.mu.Unlock()

	if e.closed {
		return View{}, errors.New("the disks are being reset")
	}

	if e.failed == nil {
		e.failed, e.began = map[string]failure{}, e.Now()
	}

	tried := map[string]bool{}

	for range rounds {
		disks, err := e.System.Disks()
		if err != nil {
			return View{}, err
		}

		view := View{Disks: disks, Out: plan.Make(plan.Input{Config: cfg, Disks: disks, Settled: e.settled(disks)})}

		if e.step(ctx, view.Out.Ops, tried) == 0 || ctx.Err() != nil {
			e.blame(&view.Out)
			e.handOver(ctx, view.Out.Volumes)

			return view, ctx.Err()
		}
	}

	return View{}, errors.New("the plan does not come to an end")
}

// handOver has the daemons' directories made on what is mounted, once in this daemon's life. A volume is told of even when
// that fails: who owns nothing on it is not to wait.
func (e *Engine) handOver(ctx context.Context, volumes []plan.Status) {
	if e.Mounted == nil {
		return
	}

	if e.mounted == nil {
		e.mounted = map[string]bool{}
	}

	for _, v := range volumes {
		target := v.Volume.Mount
		if v.Phase != enums.VolumePhaseReady || target == "" || e.mounted[target] {
			continue
		}

		if err := e.Mounted(ctx, target); err != nil {
			e.Log.Error("daemons may not reach their files", "volume", v.Volume.ID, "error", err)

			continue
		}

		e.mounted[target] = true
	}
}

// step applies what did not fail recently and returns how many steps succeeded.
func (e *Engine) step(ctx context.Context, ops []plan.Op, tried map[string]bool) int {
	done := 0

	for _, op := range ops {
		ids := op.For()
		if slices.ContainsFunc(ids, func(id string) bool { return tried[id] || e.Now().Before(e.failed[id].until) }) {
			continue
		}

		e.Log.Info("disk step", "step", op.String())

		if err := e.System.Apply(ctx, op); err != nil {
			e.Log.Error("disk step failed", "step", op.String(), "error", err)

			for _, id := range ids {
				retry := e.failed[id].retry
				retry.First, retry.Most = retryFirst, retryMax
				e.failed[id] = failure{err, e.Now().Add(retry.Next()), retry}
				tried[id] = true
			}

			continue
		}

		done++
	}

	return done
}

// blame puts failures into the states of their volumes, and forgets those of volumes that have nothing left to do.
func (e *Engine) blame(out *plan.Output) {
	pending := map[string]bool{}

	for _, op := range out.Ops {
		for _, id := range op.For() {
			pending[id] = true
		}
	}

	for i := range out.Volumes {
		id := out.Volumes[i].Volume.ID
		f, failed := e.failed[id]

		switch {
		case failed && pending[id]:
			out.Volumes[i].Err = f.err
		case failed:
			delete(e.failed, id)
		}
	}
}

func (e *Engine) settled(disks []disk.Disk) bool {
	var names []string

	for _, d := range disks {
		names = append(names, d.Name)
	}

	if all := strings.Join(names, " "); all != e.names || e.changed.IsZero() {
		e.names, e.changed = all, e.Now()
	}

	quiet := settleWithDisks

	switch {
	case len(disks) == 0:
		quiet = settleWithout
	case e.Drivers != nil:
		quiet = settleDriven
	}

	e.settles = e.began.Add(e.Settle)
	if at := e.changed.Add(quiet); at.After(e.settles) {
		e.settles = at
	}

	return e.driven() && !e.Now().Before(e.settles)
}

// driven tells whether no driver is left that may find disks.
func (e *Engine) driven() bool { return e.Drivers == nil || e.Drivers() }

// Next is when a pass is due without any event: when the disks settle, unless drivers are awaited, whose end is an event; and
// when a step that failed is to be tried again.
func (e *Engine) Next(settled bool) time.Duration {
	e.mu.Lock()
	defer e.mu.Unlock()

	next := time.Minute

	for _, f := range e.failed {
		next = min(next, max(f.until.Sub(e.Now()), 0)+10*time.Millisecond)
	}

	if !settled && e.driven() {
		next = min(next, max(e.settles.Sub(e.Now()), 0)+10*time.Millisecond)
	}

	return next
}

// Settled tells whether the disks are.
func (e *Engine) Settled(view View) bool {
	e.mu.Lock()
	defer e.mu.Unlock()

	return e.settled(view.Disks)
}

// Close lets finish have the disks alone; no pass begins after it.
func (e *Engine) Close(finish func()) {
	e.mu.Lock()
	defer e.mu.Unlock()

	if !e.closed {
		e.closed = true

		finish()
	}
}
