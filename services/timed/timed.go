// Package timed owns the node's clock: it compares it with time servers, corrects it where it may, and tells its state.
package timed

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	timeapi "github.com/dactyl-os/dactyl/proto/time"
	"github.com/dactyl-os/dactyl/services/kit/cmdline"
	"github.com/dactyl-os/dactyl/services/kit/daemon"

	"github.com/dactyl-os/dactyl/services/timed/internal/clock"
	"github.com/dactyl-os/dactyl/services/timed/internal/controllers"
)

// SetClockEnv has to be 1 for the clock to be set. An image for machines sets it in timed's manifest.
const SetClockEnv = "DACTYL_SET_CLOCK"

// New wires the daemon.
func New(env *daemon.Env) error {
	params, err := cmdline.Read(env.Root)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("read kernel command line: %w", err)
	}

	platform := params.Last(cmdline.Platform)
	allowed := maySet(env, platform)
	system := clock.New(allowed)

	timeapi.RegisterTimeServiceServer(env.Server(), &methods{state: env.State})

	if err := env.Controller(&controllers.Sync{
		Platform: platform, MaySet: allowed, Clock: system, Log: env.Log,
	}); err != nil {
		return err
	}

	return env.Controller(&controllers.Adjtime{Read: system.Status})
}

// maySet: the clock is that of a machine whose daemon this is, which was told to set it and is able to. A daemon run on
// somebody's laptop is none of it.
func maySet(env *daemon.Env, platform string) bool {
	return os.Getenv(SetClockEnv) == "1" &&
		platform != "" && platform != "container" &&
		!env.Alone() && filepath.Clean(env.Root) == "/" &&
		clock.CanSet()
}
