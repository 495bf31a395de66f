// Package active keeps the machine configuration in force: it takes it from disk at start, judges and applies new ones,
// and takes a tried one back when its time is over.
package active

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/dactyl-os/dactyl/proto/config"
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

		if _, err := a.judge(data); err != nil {
			a.Log.Error("configuration of a source not taken", "error", err)

			continue
		}

		return data, a.Store.SetConfig(data)
	}

	return nil, nil
}

func (a *Active) judge(data []byte) (*config.Config, error) {
	c, err := config.Load(data)
	if err != nil {
		return nil, err
	}

	_, err = c.Validate(a.Mode)

	return c, err
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

	c, err := a.judge(data)
	if err != nil {
		return err
	}

	if c.V1Alpha1 == nil {
		return errors.New("no v1alpha1 document")
	}

	return a.activate(c)
}
