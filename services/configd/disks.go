package configd

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"time"

	"github.com/cosi-project/runtime/pkg/resource"
	"github.com/cosi-project/runtime/pkg/safe"
	"github.com/cosi-project/runtime/pkg/state"

	diskdv1 "github.com/dactyl-os/dactyl/proto/local/dactyl/diskd/v1"
	"github.com/dactyl-os/dactyl/proto/resource/block"
	"github.com/dactyl-os/dactyl/proto/resource/enums"
	"github.com/dactyl-os/dactyl/services/kit/daemon"

	"github.com/dactyl-os/dactyl/services/configd/internal/metastore"
)

const (
	// stateVolume is where the configuration is kept.
	stateVolume = "STATE"
	metaVolume  = "META"
	// volumesLimit is longer than hostd and diskd take to find disks, also on an emulated machine.
	volumesLimit = 3 * time.Minute
	// askLimit bounds a question to diskd once the disks are known.
	askLimit = 10 * time.Second
	// installLimit is for partitions and filesystems of a large disk.
	installLimit = 2 * time.Minute
)

// ownsDisks tells whether diskd manages disks of this machine's: everywhere but in a container. Away from a machine that is
// so if there is a diskd.
func ownsDisks(env *daemon.Env, platform string) bool {
	if platform == "container" || env.Alone() {
		return false
	}

	_, err := os.Stat(env.Socket("diskd"))

	return err == nil || env.OwnMachine(platform)
}

// awaitVolumes waits until META can be read and STATE is mounted, or until it is certain that there is none yet. What META and
// the configuration are cannot be said before; callers wait at the socket, which init holds.
func awaitVolumes(env *daemon.Env) {
	ctx, cancel := context.WithTimeout(context.Background(), volumesLimit)
	defer cancel()

	for _, id := range []resource.ID{metaVolume, stateVolume} {
		volume := resource.NewMetadata(block.NamespaceName, block.VolumeStatusType, id, resource.VersionUndefined)

		if _, err := env.State.WatchFor(ctx, volume, state.WithCondition(decided)); err != nil {
			env.Log.Error("the disks are not known, going on without", "volume", id, "error", err)
		}
	}
}

// decided tells whether it is clear what becomes of a volume.
func decided(r resource.Resource) (bool, error) {
	status, ok := r.(*block.VolumeStatus)
	if !ok {
		return false, nil
	}

	switch status.TypedSpec().Phase {
	case enums.VolumePhaseReady, enums.VolumePhaseMissing, enums.VolumePhaseFailed, enums.VolumePhaseClosed:
		return true, nil
	default:
		return false, nil
	}
}

// stateAvailable tells why the state directory is not the volume it should be. Without such a volume nothing was ever kept;
// with one that does not mount there may be a configuration.
func (v volumes) stateAvailable() error {
	if !v.onDisk {
		return nil
	}

	ctx, cancel := context.WithTimeout(context.Background(), askLimit)
	defer cancel()

	status, err := safe.StateGetByID[*block.VolumeStatus](ctx, v.env.State, stateVolume)
	if err != nil {
		return fmt.Errorf("diskd does not know the volume %s: %w", stateVolume, err)
	}

	switch spec := status.TypedSpec(); spec.Phase {
	case enums.VolumePhaseReady, enums.VolumePhaseMissing:
		return nil
	default:
		return fmt.Errorf("the volume %s is %s: %s", stateVolume, spec.Phase, cmp.Or(spec.ErrorMessage, "diskd works on it"))
	}
}

// install has diskd make the system's partitions on the disk that the configuration names, so that it outlives this boot, and
// META with it.
func install(env *daemon.Env, configuration []byte, values *metastore.Store) error {
	conn, err := env.Dial("diskd")
	if err != nil {
		return fmt.Errorf("reach diskd: %w", err)
	}

	ctx, cancel := context.WithTimeout(context.Background(), installLimit)
	defer cancel()

	if _, err = diskdv1.NewDiskServiceClient(conn).Install(ctx, &diskdv1.InstallRequest{MachineConfig: configuration}); err != nil {
		return fmt.Errorf("prepare the system disk: %w", err)
	}

	return values.Settle(ctx)
}
