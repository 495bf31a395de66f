package configd

import (
	"context"
	"fmt"
	"time"

	"github.com/cosi-project/runtime/pkg/resource"
	"github.com/cosi-project/runtime/pkg/state"

	diskdv1 "github.com/dactyl-os/dactyl/proto/local/dactyl/diskd/v1"
	"github.com/dactyl-os/dactyl/proto/resource/block"
	"github.com/dactyl-os/dactyl/proto/resource/enums"
	"github.com/dactyl-os/dactyl/services/kit/daemon"
)

const (
	// stateVolume is where the configuration is kept.
	stateVolume = "STATE"
	// stateLimit is longer than hostd and diskd take to find disks, also on an emulated machine.
	stateLimit = 3 * time.Minute
	// installLimit is for partitions and filesystems of a large disk.
	installLimit = 2 * time.Minute
)

// awaitState waits until STATE is mounted, or until it is certain that there is none yet. What a configuration is cannot be
// said before; callers wait at the socket, which init holds.
func awaitState(env *daemon.Env) {
	ctx, cancel := context.WithTimeout(context.Background(), stateLimit)
	defer cancel()

	volume := resource.NewMetadata(block.NamespaceName, block.VolumeStatusType, stateVolume, resource.VersionUndefined)

	_, err := env.State.WatchFor(ctx, volume, state.WithCondition(func(r resource.Resource) (bool, error) {
		status, ok := r.(*block.VolumeStatus)
		if !ok {
			return false, nil
		}

		switch status.TypedSpec().Phase {
		case enums.VolumePhaseReady, enums.VolumePhaseMissing, enums.VolumePhaseFailed:
			return true, nil
		default:
			return false, nil
		}
	}))
	if err != nil {
		env.Log.Error("the disks are not known, going on without", "error", err)
	}
}

// install has diskd make the system's partitions on the disk that the configuration names, so that it outlives this boot.
func install(env *daemon.Env, configuration []byte) error {
	conn, err := env.Dial("diskd")
	if err != nil {
		return fmt.Errorf("reach diskd: %w", err)
	}

	ctx, cancel := context.WithTimeout(context.Background(), installLimit)
	defer cancel()

	if _, err = diskdv1.NewDiskServiceClient(conn).Install(ctx, &diskdv1.InstallRequest{MachineConfig: configuration}); err != nil {
		return fmt.Errorf("prepare the system disk: %w", err)
	}

	return nil
}
