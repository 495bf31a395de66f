// Package active keeps the machine configuration in force: it takes it from disk at start, judges and applies new ones,
// and takes a tried one back when its time is over.
package active

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/dactyl-os/dactyl/proto/config"
	"github.com/dactyl-os/dactyl/services/configd/internal/store"
	"github.com/dactyl-os/dactyl/services/kit/poke"
)

// DefaultTryTimeout is how long a try lasts if the caller does not say.
const DefaultTryTimeout = time.Minute

// Source looks for a configuration outside the state directory, nil if it has none.
type Source func() ([]byte, error)

// Publisher makes known what the machine has.
type Publisher interface {
	// Config makes a configuration the one that daemons see.
	Config(c *config.Config) error
	// None says that the machine has no configuration, which opens the maintenance door.
	None() error
	// Shut says nothing of the kind any more: there is a configuration, but it cannot be read.
	Shut() error
}

// Options are what an Active works with.
type Options struct {
	Store *store.Store
	// Boot identifies this boot of the node.
	Boot string
	// Mode is where the machine runs, for validation.
	Mode config.Mode
	// Available tells why the state directory is not the machine's own, nil if it is: its disk may not be readable.
	Available func() error
	// Sources are asked in turn as long as the state directory has no configuration that can be read.
	Sources []Source
	// Asking says that other sources are asked in the background; [Active.Asked] tells what they say.
	Asking  bool
	Publish Publisher
	// Tell says why the machine is kept shut, "" when it is no more.
	Tell func(why string)
	// Reboot asks for a reboot of the node.
	Reboot func(context.Context) error
	Log    *slog.Logger
}

// Active is the configuration in force. Its methods may be called at once.
type Active struct {
	Options

	mu        sync.Mutex
	current   *config.Config // published; nil without one
	persisted []byte
	// damage is why the persisted configuration cannot be read, and refused why what a source gave cannot be: with either the
	// machine has a configuration, and nobody but its administrator may give it another.
	damage, refused error
	told            string
	trying          time.Time // deadline of the try, zero if there is none
	changed         poke.Chan // the deadline changed
}

// Open takes up what the state directory holds and publishes it.
func Open(options Options) (*Active, error) {
	a := &Active{Options: options, changed: poke.New()}

	return a, a.reopen()
}

// load reads a configuration; what is not a whole one is an error, such as an empty file.
func load(data []byte) (*config.Config, error) {
	c, err := config.Load(data)
	if err == nil && c.V1Alpha1 == nil {
		err = errors.New("no v1alpha1 document")
	}

	return c, err
}

// judge takes what was not given to this machine by its API: nobody is there to mend what it says.
func (a *Active) judge(data []byte) (*config.Config, error) {
	c, err := load(data)
	if err != nil {
		return nil, err
	}

	_, err = c.Validate(a.Mode, config.Stored)

	return c, err
}

// complain tells the log what a configuration is taken with, since nobody gets an answer.
func (a *Active) complain(c *config.Config) {
	findings, err := c.Validate(a.Mode, config.Stored)
	if err != nil {
		a.Log.Warn("configuration taken all the same", "error", err)
	}

	for _, finding := range findings.All() {
		a.Log.Warn("configuration taken all the same", "finding", finding)
	}
}

// Current returns the configuration in force, nil if there is none.
func (a *Active) Current() *config.Config {
	a.mu.Lock()
	defer a.mu.Unlock()

	return a.current
}

// Damaged says that the state directory has a configuration that cannot be read.
func (a *Active) Damaged() bool {
	a.mu.Lock()
	defer a.mu.Unlock()

	return a.damage != nil
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

	a.complain(c)

	return a.activate(c)
}
