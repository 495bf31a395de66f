package controllers

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/cosi-project/runtime/pkg/controller"
	"github.com/cosi-project/runtime/pkg/resource"
	"go.uber.org/zap"

	"github.com/dactyl-os/dactyl/proto/resource/block"
	"github.com/dactyl-os/dactyl/proto/resource/runtime"
	"github.com/dactyl-os/dactyl/services/kit/poke"
	"github.com/dactyl-os/dactyl/services/kit/reconcile"
	"github.com/dactyl-os/dactyl/services/kit/router"

	blockdev "github.com/dactyl-os/dactyl/services/diskd/internal/block"
	"github.com/dactyl-os/dactyl/services/diskd/internal/volume"
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
	Poke poke.Chan

	mu     sync.Mutex
	view   View
	told   reconcile.Told
	config *volume.Config
	err    error // why the configuration cannot be followed
}

// Name is the owner of the outputs.
func (*Volumes) Name() string { return "block.VolumesController" }

// Inputs of the controller.
func (*Volumes) Inputs() []controller.Input {
	return []controller.Input{reconcile.MachineConfigInput()}
}

// Outputs of the controller.
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
		select {
		case <-ctx.Done():
			return nil
		case <-r.EventCh():
		case <-timer.C:
		case <-c.Poke:
			select {
			case <-ctx.Done():
				return nil
			case <-time.After(debounce):
			}
		}

		next, err := c.reconcile(ctx, r)
		if err != nil {
			return err
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

// reconcile passes over the disks and says when the next pass is due, if nothing happens before.
func (c *Volumes) reconcile(ctx context.Context, r controller.Runtime) (time.Duration, error) {
	if c.System.Scope.Empty() {
		return time.Hour, nil // a container: its storage is somebody else's
	}

	if err := c.readConfig(ctx, r); err != nil {
		return 0, err
	}

	view, err := c.Engine.Pass(ctx, c.config)
	if err != nil {
		return 0, err
	}

	if c.err != nil {
		view.Out.Err = c.err
	}

	c.mu.Lock()
	c.view = view
	c.mu.Unlock()

	c.tell(view.Out.Err)

	return c.Engine.Next(c.Engine.Settled(view)), c.publish(ctx, r, view)
}

// tell logs once why the disks are not what they should be.
func (c *Volumes) tell(err error) {
	text := ""
	if err != nil {
		text = err.Error()
	}

	if c.told.News("", text) {
		c.Log.Error("no system disk", "error", text)
	}
}

// readConfig takes the machine configuration. While configd says nothing, what it said last holds; a configuration that cannot be
// followed leaves the disks alone.
func (c *Volumes) readConfig(ctx context.Context, r controller.Reader) error {
	machine, err := reconcile.MachineConfig(ctx, r)

	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case router.IsUnknown(err):
		return nil
	case err != nil || machine == nil:
		c.config, c.err = nil, err

		return nil
	}

	c.config, c.err = volume.FromConfig(machine)

	return nil
}
