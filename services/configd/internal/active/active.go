// Package active keeps the machine configuration in force: it takes it from disk at start, judges and applies new ones,
// and takes a tried one back when its time is over.
package active

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/dactyl-os/dactyl/proto/config"
	"github.com/dactyl-os/dactyl/proto/config/diff"
	"github.com/dactyl-os/dactyl/services/configd/internal/plan"
	"github.com/dactyl-os/dactyl/services/configd/internal/store"
)

// DefaultTryTimeout is how long a try lasts if the caller does not say.
const DefaultTryTimeout = time.Minute

// Source looks for a configuration outside the state directory, nil if it has none.
type Source func() ([]byte, error)

// Options are what an Active works with.
type Options struct {
	Store *store.Store
	// Boot identifies this boot of the node.
	Boot string
	// Mode is where the machine runs, for validation.
	Mode config.Mode
	// Sources are asked in turn at a start without a persisted configuration.
	Sources []Source
	// Publish makes a configuration the one that daemons see; nil takes it away.
	Publish func(*config.Config) error
	// Reboot asks for a reboot of the node.
	Reboot func(context.Context) error
	Log    *slog.Logger
}

// Active is the configuration in force. Its methods may be called at once.
type Active struct {
	Options

	mu        sync.Mutex
	current   *config.Config // published; nil in maintenance
	persisted []byte
	trying    time.Time     // deadline of the try, zero if there is none
	changed   chan struct{} // the deadline changed
}

// Open takes up what the state directory holds and publishes it. A configuration that does not load is left where it is
// and the machine stays in maintenance, where a better one can be applied.
func Open(options Options) (*Active, error) {
	a := &Active{Options: options, changed: make(chan struct{}, 1)}

	if err := a.promote(); err != nil {
		return nil, err
	}

	data, err := a.acquire()
	if err != nil || data == nil {
		return a, err
	}

	a.persisted = data

	if c, err := config.Load(data); err != nil {
		a.Log.Error("persisted configuration not taken", "error", err)
	} else {
		a.current = c
	}

	if err := a.resumeTry(); err != nil {
		return nil, err
	}

	if a.current == nil {
		return a, nil
	}

	return a, a.Publish(a.current)
}

// promote makes what was staged in an earlier boot the persisted configuration.
func (a *Active) promote() error {
	staged, err := a.Store.Pending(store.StagedFile)
	if err != nil {
		// Half a file cannot be there; whatever it is, it must not keep the node from starting.
		a.Log.Error("staged configuration not taken", "error", err)

		return a.Store.DropPending(store.StagedFile)
	}

	if staged == nil {
		return nil
	}

	persisted, err := a.Store.Config()
	if err != nil {
		return fmt.Errorf("read configuration: %w", err)
	}

	switch {
	case store.Digest(persisted) != staged.Base:
	case staged.Boot == a.Boot:
		return nil
	default:
		if err := a.Store.SetConfig(staged.Data); err != nil {
			return err
		}

		a.Log.Info("staged configuration taken")
	}

	return a.Store.DropPending(store.StagedFile)
}

// acquire returns the persisted configuration or the first that a source has, which is persisted then.
func (a *Active) acquire() ([]byte, error) {
	data, err := a.Store.Config()
	if err != nil || data != nil {
		return data, err
	}

	for _, source := range a.Sources {
		data, err := source()
		if err != nil {
			a.Log.Error("configuration of a source not taken", "error", err)

			continue
		}

		if data == nil {
			continue
		}

		if err := a.judge(data); err != nil {
			a.Log.Error("configuration of a source not taken", "error", err)

			continue
		}

		return data, a.Store.SetConfig(data)
	}

	return nil, nil
}

func (a *Active) judge(data []byte) error {
	c, err := config.Load(data)
	if err != nil {
		return err
	}

	_, err = c.Validate(a.Mode)

	return err
}

// resumeTry goes on with a try that began before configd or the node restarted.
func (a *Active) resumeTry() error {
	tried, err := a.Store.Pending(store.TryFile)
	if err != nil {
		a.Log.Error("tried configuration not taken", "error", err)

		return a.Store.DropPending(store.TryFile)
	}

	if tried == nil {
		return nil
	}

	// The wall clock may have been set back meanwhile; a try never lasts longer than it was asked to.
	left := min(time.Until(tried.Deadline), tried.Timeout)

	c, err := config.Load(tried.Data)
	if err != nil || left <= 0 || tried.Base != store.Digest(a.persisted) {
		a.Log.Info("tried configuration taken back", "error", err)

		return a.Store.DropPending(store.TryFile)
	}

	a.current, a.trying = c, time.Now().Add(left)

	return nil
}

// Current returns the configuration in force, nil in maintenance.
func (a *Active) Current() *config.Config {
	a.mu.Lock()
	defer a.mu.Unlock()

	return a.current
}

// Persisted says that the state directory has a configuration, in force or not.
func (a *Active) Persisted() bool {
	a.mu.Lock()
	defer a.mu.Unlock()

	return a.persisted != nil
}

// Adopt puts the configuration of a source in force that answered only after Open. One that came meanwhile stays.
func (a *Active) Adopt(data []byte) error {
	a.mu.Lock()
	defer a.mu.Unlock()

	if a.current != nil {
		return nil
	}

	if err := a.judge(data); err != nil {
		return err
	}

	c, err := config.Load(data)
	if err != nil {
		return err
	}

	if c.V1Alpha1 == nil {
		return errors.New("no v1alpha1 document")
	}

	return a.activate(c)
}

// Run takes back tried configurations until ctx ends.
func (a *Active) Run(ctx context.Context) error {
	for {
		timer := time.NewTimer(a.untilRevert())

		select {
		case <-ctx.Done():
			timer.Stop()

			return nil
		case <-a.changed:
			timer.Stop()
		case <-timer.C:
			if err := a.revert(); err != nil {
				return err
			}
		}
	}
}

func (a *Active) untilRevert() time.Duration {
	const never = 24 * time.Hour

	a.mu.Lock()
	defer a.mu.Unlock()

	if a.trying.IsZero() {
		return never
	}

	return time.Until(a.trying)
}

func (a *Active) revert() error {
	a.mu.Lock()
	defer a.mu.Unlock()

	if a.trying.IsZero() || time.Now().Before(a.trying) {
		return nil
	}

	c, err := config.Load(a.persisted)
	if err != nil {
		return fmt.Errorf("take a tried configuration back: %w", err)
	}

	if err := a.Store.DropPending(store.TryFile); err != nil {
		return err
	}

	a.current, a.trying = c, time.Time{}
	a.Log.Info("tried configuration taken back, nobody confirmed it")

	return a.Publish(c)
}

// Request is an apply.
type Request struct {
	Data    []byte
	Mode    plan.Mode
	DryRun  bool
	Timeout time.Duration
}

// Result tells what an apply did, or in a dry run would do.
type Result struct {
	Action   plan.Action
	Effects  plan.Effects
	Warnings []string
	// Diff is set in a dry run.
	Diff    string
	Timeout time.Duration
}

// ErrRefused marks errors of the request, not of the machine: nothing was changed.
var ErrRefused = errors.New("configuration refused")

// Apply judges a configuration and, unless it is a dry run, puts it in force as the mode says.
func (a *Active) Apply(ctx context.Context, request Request) (*Result, error) {
	a.mu.Lock()
	defer a.mu.Unlock()

	result := &Result{Timeout: request.Timeout}
	if result.Timeout <= 0 {
		result.Timeout = DefaultTryTimeout
	}

	next, err := a.consider(request, result)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrRefused, err)
	}

	if request.DryRun {
		result.Diff, err = diff.Unified(a.currentBytes(), request.Data)

		return result, err
	}

	switch result.Action {
	case plan.ActivateForAWhile:
		err = a.try(next, result.Timeout)
	case plan.Stage:
		err = a.stage(next)
	case plan.StageAndReboot:
		err = a.stageAndReboot(ctx, next)
	default:
		err = a.activate(next)
	}

	return result, err
}

// consider fills the result without changing anything.
func (a *Active) consider(request Request, result *Result) (*config.Config, error) {
	next, err := config.Load(request.Data)
	if err != nil {
		return nil, err
	}

	if next.V1Alpha1 == nil {
		return nil, errors.New("no v1alpha1 document (hint: send the whole configuration, patches are applied by the client)")
	}

	if result.Warnings, err = next.Validate(a.Mode); err != nil {
		return nil, err
	}

	changes, err := diff.Changes(a.currentBytes(), request.Data)
	if err != nil {
		return nil, err
	}

	result.Effects = plan.Judge(changes)
	result.Action, err = plan.Decide(request.Mode, a.current != nil, result.Effects)

	return next, err
}

func (a *Active) currentBytes() []byte {
	if a.current == nil {
		return nil
	}

	return a.current.Bytes()
}

// activate persists first: what daemons act on survives.
func (a *Active) activate(next *config.Config) error {
	if !bytes.Equal(a.persisted, next.Bytes()) {
		if err := a.Store.SetConfig(next.Bytes()); err != nil {
			return err
		}
	}

	a.persisted, a.current = next.Bytes(), next
	a.endTry()

	// Stale by now, and taken for that should configd die here.
	if err := errors.Join(a.Store.DropPending(store.TryFile), a.Store.DropPending(store.StagedFile)); err != nil {
		return err
	}

	return a.Publish(next)
}

func (a *Active) endTry() {
	a.trying = time.Time{}
	a.wake()
}

func (a *Active) wake() {
	select {
	case a.changed <- struct{}{}:
	default:
	}
}

func (a *Active) try(next *config.Config, timeout time.Duration) error {
	deadline := time.Now().Add(timeout)

	err := a.Store.SetPending(store.TryFile, store.Pending{
		Data: next.Bytes(), Base: store.Digest(a.persisted), Deadline: deadline, Timeout: timeout,
	})
	if err != nil {
		return err
	}

	a.current, a.trying = next, deadline
	a.wake()

	return a.Publish(next)
}

func (a *Active) stage(next *config.Config) error {
	return a.Store.SetPending(store.StagedFile, store.Pending{Data: next.Bytes(), Base: store.Digest(a.persisted), Boot: a.Boot})
}

func (a *Active) stageAndReboot(ctx context.Context, next *config.Config) error {
	before, err := a.Store.Pending(store.StagedFile)
	if err != nil {
		before = nil
	}

	if err := a.stage(next); err != nil {
		return err
	}

	if err := a.Reboot(ctx); err != nil {
		// Not rebooted, so not applied: what was staged before stays staged.
		undo := a.Store.DropPending(store.StagedFile)
		if before != nil {
			undo = a.Store.SetPending(store.StagedFile, *before)
		}

		return errors.Join(fmt.Errorf("reboot: %w", err), undo)
	}

	return nil
}
