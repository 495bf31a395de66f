package controllers

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
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
	"github.com/dactyl-os/dactyl/services/hostd/internal/uevent"
)

// How long no device may have come before they are said to be complete. A driver that was loaded has found what it drives,
// save where devices answer by and by: behind a USB controller, where a disk takes a second to be looked at, or on a fabric.
const (
	quiet     = 100 * time.Millisecond
	quietSlow = 1500 * time.Millisecond
)

// slow tells drivers whose devices come later than they do.
func slow(modules []string) bool {
	return slices.ContainsFunc(modules, func(name string) bool {
		return strings.HasSuffix(name, "hci_hcd") || strings.HasSuffix(name, "hci_pci") ||
			slices.Contains([]string{"usb_storage", "uas", "lpfc", "qla2xxx", "scsi_transport_fc", "scsi_transport_iscsi"}, name)
	})
}

// lateAfter is how long the node is left to start before drivers are loaded that it can start without.
const lateAfter = 10 * time.Second

// parallel is how many drivers look for their devices at the same time.
const parallel = 2

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

	tried   map[string]bool // aliases and modules
	pending []string        // aliases of devices whose driver is yet to be loaded
	running int
	level   int       // urgency of what is running
	ready   bool      // what is urgent is done
	idle    bool      // the node had its time to start
	ended   chan bool // by a load, with slow
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
	c.tried = map[string]bool{}
	c.ended = make(chan bool)

	// What comes while the bus is walked waits in the socket.
	socket, err := uevent.Open()
	if err != nil {
		return err
	}

	aliases, failed := make(chan string), make(chan error, 1)

	go func() {
		failed <- socket.Run(ctx, func(e uevent.Event, err error) {
			alias := e.Values["MODALIAS"] // empty: look at everything again

			if err == nil && (e.Action != "add" && e.Action != "remove" || alias == "") {
				return
			}

			select {
			case aliases <- alias:
			case <-ctx.Done():
			}
		})
	}()

	c.coldplug()

	until := time.Now().Add(quiet + c.Settle)

	settled := time.NewTimer(time.Until(until))
	defer settled.Stop()

	var idle <-chan time.Time

	// stir waits for quiet again; what was to be waited for anyway stays so.
	stir := func(wait time.Duration) {
		if at := time.Now().Add(wait); at.After(until) {
			until = at
		}

		settled.Reset(time.Until(until))
	}

	for {
		c.begin(ctx)

		select {
		case <-ctx.Done():
			return nil
		case late := <-c.ended:
			c.running--

			if late {
				stir(quietSlow)
			} else {
				stir(quiet)
			}
		case err := <-failed:
			return err
		case alias := <-aliases:
			if alias == "" {
				c.coldplug()
			} else {
				c.want(alias)
			}

			stir(quiet)
		case <-settled.C:
			// The end of a load sets the timer again. What the driver found is in the socket by then.
			if c.running > 0 {
				continue
			}

			if err := c.publish(ctx, r); err != nil {
				return err
			}

			if !c.ready {
				c.ready, idle = true, time.After(lateAfter)
				c.Log.Info("devices are ready", "later", len(c.pending))
			}
		case <-idle:
			c.idle = true
		case <-r.EventCh():
			if err := c.configured(ctx, r); err != nil {
				return err
			}
		}
	}
}

// coldplug finds drivers for what was there before. A bus that a driver brings announces its devices as events.
func (c *Devices) coldplug() {
	started, before := time.Now(), len(c.tried)

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
		c.want(alias)
	}

	c.Log.Info("devices found", "kinds", len(c.tried)-before, "took", time.Since(started))
}

// Levels of urgency. One begins when the one before is done: while disks are looked for, the kernel lets no other driver end
// its start.
const (
	reachable = iota // what the node is reached by, and virtual disks, which come on the same bus
	disks            // and the power button: a node that runs is to hear it
	late             // what is only guessed at, and what no disk or network can hide behind: it begins lateAfter devices are ready
)

func urgency(alias string) int {
	has := func(prefixes ...string) bool {
		return slices.ContainsFunc(prefixes, func(p string) bool { return strings.HasPrefix(alias, p) })
	}

	switch {
	case has("virtio:"), has("pci:") && strings.Contains(alias, "bc02"):
		return reachable
	case has("acpi:LNXPWRBN:", "acpi:PNP0C0C:"):
		return disks
	case has("serio:", "input:", "cpu:", "dmi", "acpi:LNX", "acpi:PNP", "acpi:QEMU", "platform:pcspkr"):
		return late
	case has("pci:"):
		return ofPCI(alias)
	default:
		return disks
	}
}

// ofPCI goes by the class of a device: storage and memory cards; bridges and serial buses, which lead to others, but the SMBus.
func ofPCI(alias string) int {
	has := func(class string) bool { return strings.Contains(alias, class) }

	if has("bc01") || has("bc08sc05") || has("bc06") || has("bc0C") && !has("sc05") {
		return disks
	}

	return late
}

// want notes a device that needs a driver. Most need none, or one that is built in.
func (c *Devices) want(alias string) {
	if alias == "" || c.tried[alias] {
		return
	}

	c.tried[alias] = true

	if c.Loader.Fits(alias) {
		c.pending = append(c.pending, alias)
	}
}

// begin loads the most urgent drivers, some at the same time.
func (c *Devices) begin(ctx context.Context) {
	slices.SortStableFunc(c.pending, func(a, b string) int { return cmp.Compare(urgency(a), urgency(b)) })

	for c.running < parallel && len(c.pending) > 0 {
		alias := c.pending[0]

		if level := urgency(alias); c.running > 0 && level > c.level || level == late && !c.idle {
			return
		}

		c.pending = c.pending[1:]
		c.running++
		c.level = urgency(alias)

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
