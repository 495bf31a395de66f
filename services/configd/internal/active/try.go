package active

import (
	"context"
	"fmt"
	"time"

	"github.com/dactyl-os/dactyl/proto/config"
	"github.com/dactyl-os/dactyl/services/configd/internal/store"
)

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

	return a.Publish.Config(c)
}

func (a *Active) endTry() {
	a.trying = time.Time{}
	a.wake()
}

func (a *Active) wake() { a.changed.Poke() }

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

	return a.Publish.Config(next)
}
