package active

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/dactyl-os/dactyl/services/configd/internal/store"
)

// again is how often what cannot be read is read again: a disk may come late, and an administrator may put a file back.
const again = 5 * time.Second

// Retry reads again what could not be read, until ctx ends.
func (a *Active) Retry(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(again):
		}

		if a.Damaged() {
			if err := a.reopen(); err != nil {
				return err
			}
		}
	}
}

// Asked takes what the sources in the background have said: nil if none of them has a configuration, else why what is there
// cannot be used.
func (a *Active) Asked(refused error) error {
	a.mu.Lock()
	defer a.mu.Unlock()

	a.Asking, a.refused = false, refused

	return a.settle()
}

func (a *Active) reopen() error {
	a.mu.Lock()
	defer a.mu.Unlock()

	if a.current != nil {
		return nil // applied meanwhile
	}

	if a.damage = a.Available(); a.damage == nil {
		if err := a.takeUp(); err != nil {
			return err
		}
	}

	if a.current == nil {
		if err := a.ask(); err != nil {
			return err
		}
	}

	return a.settle()
}

// takeUp takes what the state directory has: what is persisted, or was staged for this boot, and a try that is not over.
func (a *Active) takeUp() error {
	// Half a configuration may load, but is hardly valid.
	data, mended, damage := a.Store.Config(func(data []byte) error {
		_, err := a.judge(data)

		return err
	})

	if mended != nil {
		a.Log.Error("persisted configuration mended", "error", mended)
	}

	a.persisted, a.damage = data, damage

	if err := a.promote(); err != nil {
		return err
	}

	if a.persisted == nil {
		return nil
	}

	a.damage = nil

	c, err := load(a.persisted)
	if err != nil {
		a.damage = fmt.Errorf("this build does not know it: %w", err)
	} else {
		a.current = c
		a.complain(c)
	}

	return a.resumeTry()
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

	switch {
	case store.Digest(a.persisted) != staged.Base:
	case staged.Boot == a.Boot:
		return nil
	default:
		if err := a.persist(staged.Data); err != nil {
			return err
		}

		a.Log.Info("staged configuration taken")
	}

	return a.Store.DropPending(store.StagedFile)
}

// ask takes the first configuration that a source has.
func (a *Active) ask() error {
	for _, source := range a.Sources {
		data, err := source()
		if err == nil && data == nil {
			continue
		}

		if err == nil {
			c, unusable := a.judge(data)
			if unusable == nil {
				a.complain(c)

				return a.activate(c)
			}

			err = unusable
		}

		a.refused = err
	}

	return nil
}

// settle makes known what the machine has. Only one that certainly has no configuration is said to have none.
func (a *Active) settle() error {
	if a.current != nil {
		a.damage, a.refused = nil, nil
		a.tell("")

		return a.Publish.Config(a.current)
	}

	switch {
	case a.damage != nil:
		a.tell("the machine configuration cannot be read, so the node is kept shut: " + a.damage.Error() + advice)
	case a.refused != nil:
		a.tell("the configuration given to this machine cannot be used, so the node is kept shut: " + a.refused.Error())
	case a.Asking:
		return nil
	default:
		a.tell("")

		return a.Publish.None()
	}

	return a.Publish.Shut()
}

const advice = "; put " + store.ConfigFile + " back into the state directory, or wipe the machine"

func (a *Active) tell(why string) {
	if a.told == why {
		return
	}

	if a.told = why; why != "" {
		a.Log.Error("kept shut", "error", errors.New(why))
	}

	a.Tell(why)
}
