// Package diskd owns disks, volumes, mounts and the META partition's bytes.
package diskd

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/cosi-project/runtime/pkg/safe"

	diskdv1 "github.com/dactyl-os/dactyl/proto/local/dactyl/diskd/v1"
	initv1 "github.com/dactyl-os/dactyl/proto/local/dactyl/init/v1"
	"github.com/dactyl-os/dactyl/proto/machine"
	"github.com/dactyl-os/dactyl/proto/resource/config"
	"github.com/dactyl-os/dactyl/proto/resource/enums"
	"github.com/dactyl-os/dactyl/proto/storage"
	"github.com/dactyl-os/dactyl/services/kit/cmdline"
	"github.com/dactyl-os/dactyl/services/kit/daemon"

	"github.com/dactyl-os/dactyl/services/diskd/internal/block"
	"github.com/dactyl-os/dactyl/services/diskd/internal/controllers"
	"github.com/dactyl-os/dactyl/services/diskd/internal/operators"
	"github.com/dactyl-os/dactyl/services/kit/mountinfo"
	"github.com/dactyl-os/dactyl/services/kit/poke"
)

// DisksEnv names the disks (/dev/loop3,/dev/loop4) of a daemon that does not run a machine of its own. Without it there
// are none.
const DisksEnv = "DACTYL_DISKS"

// patience for configd at the start is short: it may itself be waiting for STATE.
const patience = 300 * time.Millisecond

// New wires the daemon.
func New(env *daemon.Env) error {
	parameters, err := cmdline.Read(env.Root)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("read kernel command line: %w", err)
	}

	env.Patience = patience

	system := &block.System{
		Log: env.Log, Dev: "/dev", Sys: "/sys", Mountinfo: mountinfo.Path, Root: env.Root,
		Scope: scope(env, parameters.Last(cmdline.Platform)),
	}
	engine := &controllers.Engine{System: system, Log: env.Log, Settle: settleTime(parameters), Now: time.Now}
	again := poke.New()
	changed := again.Poke

	methods := &operators.Machine{
		System: system, Engine: engine, Log: env.Log, Dial: env.Dial, Resetting: env.RunFile("resetting"),
		Unconfigured: func(ctx context.Context) bool {
			// configd says so: its silence is no word.
			said, err := safe.StateGetByID[*config.MachineType](ctx, env.State, config.MachineTypeID)

			return err == nil && said.TypedSpec().Value == enums.MachineTypeUnknown
		},
		Patience: env.StopTimeout * 2 / 3, // wiping takes a second
		Runs:     func(owner string) bool { _, err := os.Stat(env.Socket(owner)); return err == nil },
	}

	machine.RegisterMachineServiceServer(env.Server(), methods)
	storage.RegisterStorageServiceServer(env.Server(), &operators.Storage{System: system})
	diskdv1.RegisterDiskServiceServer(env.Server(), &operators.Local{System: system, Engine: engine, Changed: changed})

	if env.OwnMachine(parameters.Last(cmdline.Platform)) {
		engine.Drivers = awaitDrivers(env, changed)
	}

	if _, err := os.Stat(env.Socket("init")); err == nil {
		engine.Mounted = func(ctx context.Context, target string) error { return mounted(ctx, env, target) }
	}

	if !system.Scope.Empty() {
		env.Go("watch disks", func(ctx context.Context) error { return block.Uevents(ctx, changed) })
		env.Go("finish resets", func(ctx context.Context) error {
			<-ctx.Done()
			methods.Finish(context.WithoutCancel(ctx))

			return nil
		})
	}

	return env.Controller(&controllers.Volumes{Engine: engine, System: system, Log: env.Log, Poke: again})
}

// initTime is how long init may take to make directories.
const initTime = 5 * time.Second

// mounted asks init for the daemons' directories on a volume.
func mounted(ctx context.Context, env *daemon.Env, target string) error {
	ctx, cancel := context.WithTimeout(ctx, initTime)
	defer cancel()

	conn, err := env.Dial("init")
	if err == nil {
		_, err = initv1.NewInitServiceClient(conn).Mounted(ctx, &initv1.MountedRequest{Target: target})
	}

	if err != nil {
		return fmt.Errorf("have init make the directories of daemons on %s: %w", target, err)
	}

	return nil
}

// scope: the disks are those of a machine whose daemon this is. Anywhere else, be it a container or somebody's laptop,
// they are another's, but for those that are named.
func scope(env *daemon.Env, platform string) block.Scope {
	switch {
	case platform == "container":
		return block.Scope{}
	case env.OwnMachine(platform):
		return block.Machine()
	default:
		return block.Only(strings.Split(os.Getenv(DisksEnv), ",")...)
	}
}

// settleTime reads talos.device.settle_time: a duration, or seconds.
func settleTime(p cmdline.Parameters) time.Duration {
	text := p.Last(cmdline.DeviceSettleTime)
	if seconds, err := strconv.Atoi(text); err == nil {
		return time.Duration(seconds) * time.Second
	}

	d, err := time.ParseDuration(text)
	if err != nil {
		return 0
	}

	return d
}
