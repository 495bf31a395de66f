package active

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/dactyl-os/dactyl/proto/config"
	"github.com/dactyl-os/dactyl/proto/config/diff"
	"github.com/dactyl-os/dactyl/services/configd/internal/plan"
	"github.com/dactyl-os/dactyl/services/configd/internal/store"
)

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
	tree, err := config.Parse(request.Data)
	if err != nil {
		return nil, err
	}

	next, err := tree.Load()
	if err != nil {
		return nil, err
	}

	if next.V1Alpha1 == nil {
		return nil, errors.New("no v1alpha1 document (hint: send the whole configuration, patches are applied by the client)")
	}

	findings, err := next.Validate(a.Mode, config.New)
	if err != nil {
		return nil, err
	}

	before, err := config.Parse(a.currentBytes())
	if err != nil {
		return nil, fmt.Errorf("configuration in force: %w", err)
	}

	result.Warnings = append(findings.All(), config.Idle(before, tree, a.Mode)...)

	// A client that reads the YAML form of a resource sees the first document only, and would send back no other.
	if removed := config.Removed(before, tree); removed != nil {
		result.Warnings = append(result.Warnings, "removed with this configuration: "+strings.Join(removed, ", "))
	}

	result.Effects = plan.Judge(diff.Changes(before, tree))

	if result.Action, err = plan.Decide(request.Mode, a.current != nil, result.Effects); err != nil {
		return nil, err
	}

	if warning := a.loses(result.Action, request.Data); warning != "" {
		result.Warnings = append(result.Warnings, warning)
	}

	return next, nil
}

// loses tells of a configuration that was staged and that this apply puts an end to, as the contract has it.
func (a *Active) loses(action plan.Action, next []byte) string {
	staged, err := a.Store.Pending(store.StagedFile)
	if err != nil || staged == nil || staged.Base != store.Digest(a.persisted) || action == plan.ActivateForAWhile || bytes.Equal(staged.Data, next) {
		return ""
	}

	return "a configuration was staged for the next boot: this one takes its place, and what was staged is lost"
}

func (a *Active) currentBytes() []byte {
	if a.current == nil {
		return nil
	}

	return a.current.Bytes()
}

// activate persists first: what daemons act on survives.
func (a *Active) activate(next *config.Config) error {
	if err := a.persist(next.Bytes()); err != nil {
		return err
	}

	a.current = next
	a.endTry()

	// Stale by now, and taken for that should configd die here.
	if err := errors.Join(a.Store.DropPending(store.TryFile), a.Store.DropPending(store.StagedFile)); err != nil {
		return err
	}

	return a.settle()
}

func (a *Active) persist(data []byte) error {
	if bytes.Equal(a.persisted, data) {
		return nil
	}

	if a.damage != nil {
		if err := a.Store.SetAside(); err != nil {
			return err
		}
	}

	if err := a.Store.SetConfig(data); err != nil {
		return err
	}

	a.persisted = data

	return nil
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
