package diskd

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/cosi-project/runtime/pkg/resource"
	"github.com/cosi-project/runtime/pkg/state"

	"github.com/dactyl-os/dactyl/proto/resource/runtime"
	"github.com/dactyl-os/dactyl/services/kit/daemon"
)

// driversLimit is how long hostd may take to load drivers: emulated machines need half a minute.
const driversLimit = 2 * time.Minute

// awaitDrivers tells from when on hostd has loaded what finds disks. Before that no disk is missing.
func awaitDrivers(env *daemon.Env, changed func()) func() bool {
	var ready atomic.Bool

	env.Go("await drivers", func(ctx context.Context) error {
		limited, cancel := context.WithTimeout(ctx, driversLimit)
		defer cancel()

		devices := resource.NewMetadata(runtime.NamespaceName, runtime.DevicesStatusType, runtime.DevicesID, resource.VersionUndefined)

		_, err := env.State.WatchFor(limited, devices, state.WithCondition(func(r resource.Resource) (bool, error) {
			status, ok := r.(*runtime.DevicesStatus)

			return ok && status.TypedSpec().Ready, nil
		}))
		if err != nil && ctx.Err() == nil {
			env.Log.Warn("drivers are not ready, disks may be missing", "error", err)
		}

		ready.Store(true)
		changed()

		return nil
	})

	return ready.Load
}
