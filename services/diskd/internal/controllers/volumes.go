package controllers

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/cosi-project/runtime/pkg/controller"
	"github.com/cosi-project/runtime/pkg/resource"
	"github.com/cosi-project/runtime/pkg/safe"
	"github.com/cosi-project/runtime/pkg/state"
	"go.uber.org/zap"

	"github.com/dactyl-os/dactyl/proto/resource/block"
	"github.com/dactyl-os/dactyl/proto/resource/config"
	"github.com/dactyl-os/dactyl/proto/resource/runtime"
	"github.com/dactyl-os/dactyl/services/kit/reconcile"

	blockdev "github.com/dactyl-os/dactyl/services/diskd/internal/block"
	"github.com/dactyl-os/dactyl/services/diskd/internal/volume"
)

// answerTimeout bounds the wait for configd, which may itself be waiting for STATE; it is asked again after askAgain.
const (
	answerTimeout = 300 * time.Millisecond
	askAgain      = time.Second
)

// debounce gathers the events of one change.
const debounce = 100 * time.Millisecond

// Volumes makes the disks what the machine configuration asks for.
//
// Inputs: MachineConfig (configd), the kernel's events. Outputs: Disk, Device, DiscoveredVolume, SystemDisk,
// VolumeConfig, VolumeStatus, MountStatus, UserDiskConfigStatus.
type Volumes struct {
	Engine *Engine
	System *blockdev.System
	Log    *slog.Logger
	// Poke asks for a pass.
	Poke chan struct{}

	mu      sync.Mutex
	view    View
	told    string
	version string
	config  *volume.Config
	err     error
	unsure  bool // configd did not answer
	asked   time.Time
	due     time.Time // the next pass, if nothing happens before
}

// Name implements controller.Controller.
func (*Volumes) Name() string { return "block.VolumesController" }

// Inputs implements controller.Controller.
func (*Volumes) Inputs() []controller.Input {
	return []controller.Input{reconcile.MachineConfigInput()}
}

// Outputs implements controller.Controller.
func (*Volumes) Outputs() []controller.Output {
	var outputs []controller.Output

	for _, typ := range []resource.Type{
		block.DiskType, block.DeviceType, block.DiscoveredVolumeType, block.SystemDiskType, block.VolumeConfigType,
		block.VolumeStatusType, block.UserDiskConfigStatusType, runtime.MountStatusType,
	} {
		outputs = append(outputs, controller.Output{Type: typ, Kind: controller.OutputExclusive})
	}

	return outputs
}

// Run passes over the disks on every event until ctx ends.
func (c *Volumes) Run(ctx context.Context, r controller.Runtime, _ *zap.Logger) error {
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()

	for {
		pass := true

		select {
		case <-ctx.Done():
			return nil
		case <-r.EventCh():
			c.asked = time.Time{} // configd has something to say
		case <-timer.C:
			pass = !time.Now().Before(c.due)
		case <-c.Poke:
			select {
			case <-ctx.Done():
				return nil
			case <-time.After(debounce):
			}
		}

		if err := c.reconcile(ctx, r, pass); err != nil {
			return err
		}

		next := time.Until(c.due)
		if c.unsure {
			next = min(next, askAgain)
		}

		timer.Reset(next)
		r.ResetRestartBackoff()
	}
}

// View is what the last pass came to.
func (c *Volumes) View() View {
	c.mu.Lock()
	defer c.mu.Unlock()

	return c.view
}

// reconcile passes over the disks; without pass only if configd answers meanwhile.
func (c *Volumes) reconcile(ctx context.Context, r controller.Runtime, pass bool) error {
	if c.System.Scope.Empty() {
		c.due = time.Now().Add(time.Hour)

		return nil // a container: its storage is somebody else's
	}

	// A configd that waits for STATE answers nothing: the disks are not kept waiting for it at every event.
	if !c.unsure || time.Since(c.asked) >= askAgain {
		if err := c.readConfig(ctx, r); err != nil {
			return err
		}

		c.asked = time.Now()
	}

	if !pass && c.unsure {
		return nil
	}

	view, err := c.Engine.Pass(ctx, c.config)
	if err != nil {
		return err
	}

	if c.err != nil {
		view.Out.Err = c.err
	}

	c.mu.Lock()
	c.view = view
	c.mu.Unlock()

	c.tell(view.Out.Err)
	c.due = time.Now().Add(c.Engine.Next(c.Engine.Settled(view)))

	return c.publish(ctx, r, view)
}

// tell logs once why the disks are not what they should be.
func (c *Volumes) tell(err error) {
	text := ""
	if err != nil {
		text = err.Error()
	}

	if text != c.told && text != "" {
		c.Log.Error("no system disk", "error", text)
	}

	c.told = text
}

// readConfig parses the machine configuration when it is another one. One that cannot be followed leaves the disks alone.
func (c *Volumes) readConfig(ctx context.Context, r controller.Reader) error {
	bounded, cancel := context.WithTimeout(ctx, answerTimeout)
	defer cancel()

	res, err := safe.ReaderGetByID[*config.MachineConfig](bounded, r, config.ActiveID)
	c.unsure = err != nil && !state.IsNotFoundError(err)

	switch {
	case state.IsNotFoundError(err):
		c.config, c.err, c.version = nil, nil, ""

		return nil
	case err != nil && ctx.Err() == nil:
		// configd does not answer: what it said last holds.
		c.Log.Debug("machine configuration is not known", "error", err)

		return nil
	case err != nil:
		return ctx.Err()
	}

	if version := res.Metadata().Version().String(); version != c.version {
		c.config, c.err = volume.FromConfig(res.TypedSpec().Data)
		c.version = version
	}

	if c.err != nil {
		c.config = nil
	}

	return nil
}
