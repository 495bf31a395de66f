package operators

import (
	"context"
	"errors"
	"fmt"
	"path"
	"regexp"
	"slices"
	"strings"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	diskdv1 "github.com/dactyl-os/dactyl/proto/local/dactyl/diskd/v1"
	"github.com/dactyl-os/dactyl/services/kit/peer"

	"github.com/dactyl-os/dactyl/services/diskd/internal/block"
	"github.com/dactyl-os/dactyl/services/diskd/internal/controllers"
	"github.com/dactyl-os/dactyl/services/diskd/internal/disk"
	"github.com/dactyl-os/dactyl/services/diskd/internal/plan"
	"github.com/dactyl-os/dactyl/services/diskd/internal/volume"
)

// labels is where MountLabel mounts.
const labels = "/run/dactyl/volumes"

// installTimeout bounds Install: large disks under emulation take their time.
const installTimeout = 2 * time.Minute

// Local serves the node's other daemons.
type Local struct {
	diskdv1.UnimplementedDiskServiceServer

	System *block.System
	Engine *controllers.Engine
	// Changed asks for the resources to be brought up to date.
	Changed func()
}

// metaPart finds the META partition. Two system disks have no META that could be told apart.
func (l *Local) metaPart() (disk.Part, error) {
	disks, err := l.System.Disks()
	if err != nil {
		return disk.Part{}, status.Error(codes.Internal, err.Error())
	}

	var found []disk.Part

	for _, d := range disks {
		if p, ok := d.Part(volume.Meta); ok && plan.Installed(d) {
			found = append(found, p)
		}
	}

	switch len(found) {
	case 0:
		return disk.Part{}, status.Error(codes.NotFound, "there is no META partition")
	case 1:
		return found[0], nil
	default:
		return disk.Part{}, status.Errorf(codes.FailedPrecondition, "%s and %s are both META", found[0].Path, found[1].Path)
	}
}

// ReadMeta gives the META partition's bytes.
func (l *Local) ReadMeta(context.Context, *diskdv1.ReadMetaRequest) (*diskdv1.ReadMetaResponse, error) {
	p, err := l.metaPart()
	if err != nil {
		return nil, err
	}

	data, err := l.System.ReadMeta(p.Path)
	if err != nil {
		return nil, status.Errorf(codes.Internal, "read META: %s", err)
	}

	return &diskdv1.ReadMetaResponse{Data: data}, nil
}

// WriteMeta replaces the META partition's bytes.
func (l *Local) WriteMeta(_ context.Context, in *diskdv1.WriteMetaRequest) (*diskdv1.WriteMetaResponse, error) {
	p, err := l.metaPart()
	if err != nil {
		return nil, err
	}

	err = l.System.WriteMeta(p.Path, in.GetData())

	switch {
	case errors.Is(err, block.ErrOlder):
		return nil, status.Error(codes.Aborted, err.Error())
	case err != nil:
		return nil, status.Error(codes.Internal, err.Error())
	}

	return &diskdv1.WriteMetaResponse{}, nil
}

// Install makes the system partitions that a configuration asks for.
func (l *Local) Install(ctx context.Context, in *diskdv1.InstallRequest) (*diskdv1.InstallResponse, error) {
	cfg, err := volume.Load(in.GetMachineConfig())
	if err != nil {
		return nil, status.Error(codes.InvalidArgument, err.Error())
	}

	if l.System.Scope.Empty() {
		return nil, status.Error(codes.FailedPrecondition, "this node has no disks of its own")
	}

	ctx, cancel := context.WithTimeout(ctx, installTimeout)
	defer cancel()
	defer l.Changed()

	for {
		view, err := l.Engine.Pass(ctx, cfg)
		if err != nil {
			return nil, status.Errorf(codes.FailedPrecondition, "install: %s", err)
		}

		err = view.Out.Ready(volume.Meta, volume.State)
		if err == nil {
			return &diskdv1.InstallResponse{Disk: view.Out.SystemDisk}, nil
		}

		if l.Engine.Settled(view) {
			return nil, status.Errorf(codes.FailedPrecondition, "install: %s", err)
		}

		select {
		case <-ctx.Done():
			return nil, status.FromContextError(ctx.Err()).Err()
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// MountLabel mounts a filesystem read-only by its label.
func (l *Local) MountLabel(ctx context.Context, in *diskdv1.MountLabelRequest) (*diskdv1.MountLabelResponse, error) {
	target, err := labelTarget(in.GetLabel())
	if err != nil {
		return nil, err
	}

	disks, err := l.System.Disks()
	if err != nil {
		return nil, status.Error(codes.Internal, err.Error())
	}

	device, fs, mounted := findLabel(disks, in.GetLabel())

	switch {
	case device == "":
		return nil, status.Errorf(codes.NotFound, "no filesystem is labelled %q", in.GetLabel())
	case mounted != "":
		return &diskdv1.MountLabelResponse{Path: mounted}, nil
	}

	caller, _ := peer.FromContext(ctx)

	options, ok := mountable(caller.UID)[fs]
	if !ok {
		return nil, status.Errorf(codes.FailedPrecondition, "%s holds %s: volumes are iso9660, vfat or ext4", device, fs)
	}

	if err := l.System.Mount(device, target, fs, append(options, "ro", "nosuid", "nodev", "noexec")); err != nil {
		return nil, status.Error(codes.Internal, err.Error())
	}

	return &diskdv1.MountLabelResponse{Path: l.System.Path(target)}, nil
}

// UnmountLabel takes back MountLabel.
func (l *Local) UnmountLabel(_ context.Context, in *diskdv1.UnmountLabelRequest) (*diskdv1.UnmountLabelResponse, error) {
	target, err := labelTarget(in.GetLabel())
	if err != nil {
		return nil, err
	}

	if err := l.System.Unmount(target); err != nil {
		return nil, status.Errorf(codes.Internal, "unmount %s: %s", target, err)
	}

	return &diskdv1.UnmountLabelResponse{}, nil
}

// mountable are the filesystems of volumes that people make for a machine, with their options. Nothing is written to them, be
// it a journal's rest. What is on them may be secret, and is for the user who asked; only ext4 keeps the users it has.
func mountable(user int) map[string][]string {
	owner := fmt.Sprintf("uid=%d", user)

	return map[string][]string{
		"iso9660": {owner, "overriderockperm", "mode=0400", "dmode=0500"}, "vfat": {owner, "fmask=0377", "dmask=0277"},
		volume.Ext4: {"noload"},
	}
}

// labelTarget refuses labels of the system's own volumes and such as are not a file's name.
func labelTarget(label string) (string, error) {
	reserved := []string{volume.Meta, volume.State, volume.Ephemeral}
	if !regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,30}$`).MatchString(label) || slices.Contains(reserved, strings.ToUpper(label)) {
		return "", status.Errorf(codes.InvalidArgument, "%q is not a label to mount", label)
	}

	return path.Join(labels, strings.ToLower(label)), nil
}

// findLabel looks at whole disks first, as ISO images are.
func findLabel(disks []disk.Disk, label string) (device, fs, mounted string) {
	for _, d := range disks {
		if strings.EqualFold(d.FS.Label, label) && d.FS.Type != "" {
			return d.Path, d.FS.Type, d.Mount
		}

		for _, p := range d.Parts {
			if strings.EqualFold(p.FS.Label, label) && p.FS.Type != "" {
				return p.Path, p.FS.Type, p.Mount
			}
		}
	}

	return "", "", ""
}

var errNoSystemDisk = errors.New("the system is not on a disk")
