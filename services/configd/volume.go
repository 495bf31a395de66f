package configd

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	diskdv1 "github.com/dactyl-os/dactyl/proto/local/dactyl/diskd/v1"
	"github.com/dactyl-os/dactyl/proto/resource/runtime"
	"github.com/dactyl-os/dactyl/services/kit/daemon"

	"github.com/dactyl-os/dactyl/services/configd/internal/acquire"
	"github.com/dactyl-os/dactyl/services/configd/internal/publish"
)

// mountLimit bounds a mounting: the kernel may have to load drivers.
const mountLimit = time.Minute

// volumes reads what is on volumes that diskd mounts meanwhile.
type volumes struct {
	env       *daemon.Env
	publisher publish.Publisher
	platform  runtime.PlatformMetadataSpec
	onDisk    bool
}

// configuration reads a file at the root of the volume with a label. On nocloud it also publishes what the seed's meta-data says.
func (v volumes) configuration(ctx context.Context, label, file string) (data []byte, err error) {
	err = v.mounted(ctx, label, func(dir string) error {
		data, err = acquire.ReadFile(dir, file)
		if err == nil && v.platform.Platform == "nocloud" {
			v.publishSeed(dir)
		}

		return err
	})

	return data, err
}

// mounted calls read with the directory that the volume is mounted at while it reads.
func (v volumes) mounted(ctx context.Context, label string, read func(dir string) error) (err error) {
	if !v.onDisk {
		return fmt.Errorf("%w: there are no disks here", acquire.ErrNoVolume)
	}

	conn, err := v.env.Dial("diskd")
	if err != nil {
		return fmt.Errorf("reach diskd: %w", err)
	}

	ctx, cancel := context.WithTimeout(ctx, mountLimit)
	defer cancel()

	diskd := diskdv1.NewDiskServiceClient(conn)

	answer, err := diskd.MountLabel(ctx, &diskdv1.MountLabelRequest{Label: label})

	switch {
	case status.Code(err) == codes.NotFound:
		return acquire.ErrNoVolume
	case err != nil:
		return fmt.Errorf("mount volume %s: %w", label, err)
	}

	defer func() {
		if _, unmountErr := diskd.UnmountLabel(ctx, &diskdv1.UnmountLabelRequest{Label: label}); unmountErr != nil {
			err = errors.Join(err, fmt.Errorf("unmount volume %s: %w", label, unmountErr))
		}
	}()

	if err := read(answer.GetPath()); err != nil {
		return fmt.Errorf("read volume %s: %w", label, err)
	}

	return nil
}

// publishSeed tells what the seed's meta-data says; a seed without it is still one.
func (v volumes) publishSeed(dir string) {
	data, err := acquire.ReadFile(dir, "meta-data")
	if errors.Is(err, fs.ErrNotExist) {
		return
	}

	if err == nil {
		seed := acquire.ReadSeed(data)
		if seed.Hostname != "" {
			v.platform.Hostname = seed.Hostname
		}

		v.platform.InstanceID = seed.InstanceID
		err = v.publisher.Platform(v.platform)
	}

	if err != nil {
		v.env.Log.Warn("meta-data of the seed is not used", "error", err)
	}
}
