package controllers

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/cosi-project/runtime/pkg/controller"
	"github.com/cosi-project/runtime/pkg/safe"
	"go.uber.org/zap"
	"golang.org/x/sys/unix"

	"github.com/dactyl-os/dactyl/proto/resource/hardware"
	"github.com/dactyl-os/dactyl/proto/resource/runtime"
	"github.com/dactyl-os/dactyl/services/kit/reconcile"

	"github.com/dactyl-os/dactyl/services/hostd/internal/modules"
	"github.com/dactyl-os/dactyl/services/hostd/internal/pci"
	"github.com/dactyl-os/dactyl/services/kit/uevent"
)

// Devices finds a driver for every device of a machine, and loads the modules that the configuration asks for.
//
// Inputs: KernelModuleSpec, the kernel's events. Outputs: DevicesStatus, PCIDevice; the kernel's modules.
type Devices struct {
	Loader *modules.Loader
	Sys    string // /sys
	Names  string // pci.ids
	// Settle is waited for besides: talos.device.settle_time.
	Settle time.Duration
	Log    *slog.Logger

	queue *queue
	still stillness
	// settled fires when it has been still for long enough, idle when the node had its time to start.
	settled *time.Timer
	idle    <-chan time.Time
	ended   chan bool       // by a load, with slow
	ready   bool            // what is urgent is done
	tried   map[string]bool // modules of the configuration
}

// Name is the owner of the outputs.
func (*Devices) Name() string { return "hostd.Devices" }

// Inputs of the controller.
func (*Devices) Inputs() []controller.Input {
	return []controller.Input{{Namespace: runtime.NamespaceName, Type: runtime.KernelModuleSpecType, Kind: controller.InputWeak}}
}

// Outputs of the controller.
func (*Devices) Outputs() []controller.Output {
	return []controller.Output{
		{Type: runtime.DevicesStatusType, Kind: controller.OutputExclusive},
		{Type: hardware.PCIDeviceType, Kind: controller.OutputExclusive},
	}
}

// Run until ctx ends.
func (c *Devices) Run(ctx context.Context, r controller.Runtime, _ *zap.Logger) error {
	// What comes during the cold plug waits in the socket.
	socket, err := uevent.Open()
	if err != nil {
		return err
	}

	aliases, failed := listen(ctx, socket)
	c.start(time.Now())

	defer c.settled.Stop()

	for {
		c.begin(ctx)

		select {
		case <-ctx.Done():
			return nil
		case err = <-failed:
		case late := <-c.ended:
			c.loaded(late)
		case alias := <-aliases:
			c.found(alias)
		case <-c.settled.C:
			err = c.settle(ctx, r)
		case <-c.idle:
			c.queue.idle = true
		case <-r.EventCh():
			err = c.configured(ctx, r)
		}

		if err != nil {
			return err
		}
	}
}

// listen gives the aliases of devices that come and go; an empty one asks for another look at everything.
func listen(ctx context.Context, socket *uevent.Socket) (<-chan string, <-chan error) {
	aliases, failed := make(chan string), make(chan error, 1)

	go func() {
		failed <- socket.Run(ctx, func(e uevent.Event, err error) {
			alias, of := aliasOf(e, err)
			if !of {
				return
			}

			select {
			case aliases <- alias:
			case <-ctx.Done():
			}
		})
	}()

	return aliases, failed
}

// aliasOf tells which device an event is about, if it is about one that may need a driver.
func aliasOf(e uevent.Event, lost error) (alias string, ok bool) {
	if lost != nil {
		return "", true
	}

	alias = e.Values["MODALIAS"]

	return alias, alias != "" && (e.Action == "add" || e.Action == "remove")
}

// start looks for what is there.
func (c *Devices) start(now time.Time) {
	c.queue, c.tried, c.ended = newQueue(c.Loader.Fits), map[string]bool{}, make(chan bool)

	c.coldplug()
	c.settled = time.NewTimer(c.still.stir(now, quiet+c.Settle))
}

func (c *Devices) loaded(late bool) {
	c.queue.ended()

	if late {
		c.stir(quietSlow)
	} else {
		c.stir(quiet)
	}
}

func (c *Devices) found(alias string) {
	if alias == "" {
		c.coldplug()
	} else {
		c.queue.want(alias)
	}

	c.stir(quiet)
}

func (c *Devices) stir(wait time.Duration) { c.settled.Reset(c.still.stir(time.Now(), wait)) }

// settle tells what there is.
func (c *Devices) settle(ctx context.Context, r controller.Runtime) error {
	// The end of a load sets the timer again. What the driver found is in the socket by then.
	if c.queue.running > 0 {
		return nil
	}

	if err := c.publish(ctx, r); err != nil {
		return err
	}

	if !c.ready {
		c.ready, c.idle = true, time.After(lateAfter)
		c.Log.Info("devices are ready", "later", len(c.queue.pending))
	}

	return nil
}

// coldplug finds drivers for what was there before. A bus that a driver brings announces its devices as events.
func (c *Devices) coldplug() {
	started, before := time.Now(), len(c.queue.seen)

	var aliases []string

	for _, pattern := range []string{"bus/*/devices/*/modalias", "class/input/*/modalias"} {
		paths, _ := filepath.Glob(filepath.Join(c.Sys, pattern))

		for _, path := range paths {
			if data, err := os.ReadFile(path); err == nil {
				aliases = append(aliases, strings.TrimSpace(string(data)))
			}
		}
	}

	for _, alias := range aliases {
		c.queue.want(alias)
	}

	c.Log.Info("devices found", "kinds", len(c.queue.seen)-before, "took", time.Since(started))
}

// begin loads the most urgent drivers, some at the same time.
func (c *Devices) begin(ctx context.Context) {
	for alias, ok := c.queue.next(); ok; alias, ok = c.queue.next() {
		go func() {
			loaded := c.load(alias)

			select {
			case c.ended <- slow(loaded):
			case <-ctx.Done():
			}
		}()
	}
}

// load gives the modules that came.
func (c *Devices) load(alias string) []string {
	started := time.Now()

	loaded, err := c.Loader.Load(alias)
	if len(loaded) > 0 {
		c.Log.Info("driver loaded", "device", alias, "modules", strings.Join(loaded, " "), "took", time.Since(started))
	}

	switch {
	case errors.Is(err, unix.ENODEV): // the driver looked and knows better
		c.Log.Debug("driver not needed", "device", alias, "error", err)
	case err != nil:
		c.Log.Warn("driver not loaded", "device", alias, "error", err)
	}

	return loaded
}

// configured loads the modules of the machine configuration.
func (c *Devices) configured(ctx context.Context, r controller.Runtime) error {
	specs, err := safe.ReaderListAll[*runtime.KernelModuleSpec](ctx, r)
	if err != nil {
		return fmt.Errorf("list kernel modules: %w", err)
	}

	for spec := range specs.All() {
		name, parameters := spec.TypedSpec().Name, spec.TypedSpec().Parameters

		key := name + " " + strings.Join(parameters, " ")
		if c.tried[key] {
			continue
		}

		c.tried[key] = true

		if loaded, err := c.Loader.Load(name, parameters...); err != nil {
			c.Log.Warn("module of the configuration not loaded", "module", name, "error", err)
		} else {
			c.Log.Info("module of the configuration loaded", "module", name, "modules", strings.Join(loaded, " "))
		}
	}

	return nil
}

func (c *Devices) publish(ctx context.Context, r controller.Runtime) error {
	file, err := os.Open(c.Names)
	names := pci.ParseNames(nil)

	if err == nil {
		names = pci.ParseNames(file)
		_ = file.Close()
	}

	found, err := pci.Read(c.Sys, names)
	if err != nil {
		return err
	}

	p := reconcile.Publisher{Writer: r, Owner: c.Name()}

	return errors.Join(
		reconcile.Publish(ctx, p, hardware.NewPCIDevice, hardware.NamespaceName, found),
		reconcile.Publish(ctx, p, runtime.NewDevicesStatus, runtime.NamespaceName,
			map[string]runtime.DevicesStatusSpec{runtime.DevicesID: {Ready: true}}),
	)
}
