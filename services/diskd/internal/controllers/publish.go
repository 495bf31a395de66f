package controllers

import (
	"context"
	"fmt"

	"github.com/cosi-project/runtime/pkg/controller"
	"github.com/cosi-project/runtime/pkg/resource"
	"github.com/cosi-project/runtime/pkg/safe"

	"github.com/dactyl-os/dactyl/proto/resource/block"
	"github.com/dactyl-os/dactyl/proto/resource/enums"
	"github.com/dactyl-os/dactyl/proto/resource/runtime"

	"github.com/dactyl-os/dactyl/services/diskd/internal/disk"
	"github.com/dactyl-os/dactyl/services/diskd/internal/plan"
)

// Identifiers of the resources that are one of a kind.
const (
	SystemDiskID = "system-disk"
	UserDisksID  = "user-disks"
)

// publish makes the resources what the view says; those of what is gone are destroyed.
func (c *Volumes) publish(ctx context.Context, r controller.Runtime, view View) error {
	r.StartTrackingOutputs()

	for _, d := range view.Disks {
		if err := publishDisk(ctx, r, d); err != nil {
			return err
		}
	}

	userDisks, ready := false, true

	for _, s := range view.Out.Volumes {
		if s.Volume.Device != "" {
			userDisks, ready = true, ready && s.Err == nil && s.Phase == enums.VolumePhaseReady
		}

		if err := c.publishVolume(ctx, r, s); err != nil {
			return err
		}
	}

	if path := view.Out.SystemDisk; path != "" {
		for _, d := range view.Disks {
			if d.Path == path && plan.Installed(d) {
				if err := modify(ctx, r, block.NewSystemDisk(block.NamespaceName, SystemDiskID), func(res *block.SystemDisk) {
					*res.TypedSpec() = block.SystemDiskSpec{DiskID: d.Name, DevPath: d.Path}
				}); err != nil {
					return err
				}
			}
		}
	}

	if c.config != nil {
		if err := modify(ctx, r, block.NewUserDiskConfigStatus(block.NamespaceName, UserDisksID), func(res *block.UserDiskConfigStatus) {
			res.TypedSpec().Ready = ready || !userDisks
		}); err != nil {
			return err
		}
	}

	return cleanUp(ctx, r)
}

func modify[R resource.Resource](ctx context.Context, r controller.Writer, res R, update func(R)) error {
	if err := safe.WriterModify(ctx, r, res, func(res R) error { update(res); return nil }); err != nil {
		return fmt.Errorf("publish %s: %w", res.Metadata(), err)
	}

	return nil
}

func cleanUp(ctx context.Context, r controller.Runtime) error {
	return r.CleanupOutputs(ctx,
		kind(block.DiskType), kind(block.DeviceType), kind(block.DiscoveredVolumeType), kind(block.SystemDiskType),
		kind(block.VolumeConfigType), kind(block.VolumeStatusType), kind(block.UserDiskConfigStatusType), kind(runtime.MountStatusType))
}

func kind(typ resource.Type) resource.Kind {
	return resource.NewMetadata(block.NamespaceName, typ, "", resource.VersionUndefined)
}

func publishDisk(ctx context.Context, r controller.Writer, d disk.Disk) error {
	if err := modify(ctx, r, block.NewDisk(block.NamespaceName, d.Name), func(res *block.Disk) {
		*res.TypedSpec() = block.DiskSpec{
			Size: d.Size, IOSize: d.IOSize, SectorSize: d.Sector, Readonly: d.ReadOnly, Model: d.Model, Serial: d.Serial,
			Modalias: d.Modalias, WWID: d.WWID, BusPath: d.BusPath, SubSystem: d.SubSystem, Transport: d.Transport,
			Rotational: d.Rotational, Cdrom: d.CDROM, DevPath: d.Path, PrettySize: disk.PrettySize(d.Size),
		}
	}); err != nil {
		return err
	}

	if err := publishDevice(ctx, r, d.Name, block.DeviceSpec{Type: "disk", Major: d.Major, Minor: d.Minor, DevicePath: d.SysPath}); err != nil {
		return err
	}

	whole := block.DiscoveredVolumeSpec{Type: "disk", Name: d.Content, DevicePath: d.SysPath, DevPath: d.Path}
	if err := publishFound(ctx, r, d.Name, d, d.Size, d.FS, whole); err != nil {
		return err
	}

	for _, p := range d.Parts {
		if err := publishDevice(ctx, r, p.Name, block.DeviceSpec{
			Type: "partition", Major: p.Major, Minor: p.Minor, DevicePath: d.SysPath + "/" + p.Name,
			PartitionName: p.Label, PartitionNumber: p.Index, Parent: d.Name,
		}); err != nil {
			return err
		}

		if err := publishFound(ctx, r, p.Name, d, p.Size, p.FS, block.DiscoveredVolumeSpec{
			Type: "partition", Name: p.FS.Type, DevicePath: d.SysPath + "/" + p.Name, DevPath: p.Path,
			Parent: d.Name, ParentDevPath: d.Path,
			PartitionUUID: p.UUID, PartitionType: p.TypeGUID, PartitionLabel: p.Label, PartitionIndex: uint64(p.Index),
		}); err != nil {
			return err
		}
	}

	return nil
}

func publishDevice(ctx context.Context, r controller.Writer, name string, spec block.DeviceSpec) error {
	return modify(ctx, r, block.NewDevice(block.NamespaceName, name), func(res *block.Device) { *res.TypedSpec() = spec })
}

func publishFound(ctx context.Context, r controller.Writer, name string, d disk.Disk, size uint64, fs disk.Filesystem, spec block.DiscoveredVolumeSpec) error {
	spec.Size, spec.PrettySize, spec.SectorSize, spec.IOSize = size, disk.PrettySize(size), d.Sector, d.IOSize
	spec.UUID, spec.Label, spec.ProbedSize = fs.UUID, fs.Label, fs.Size
	spec.BlockSize, spec.FilesystemBlockSize = fs.BlockSize, fs.FSBlockSz

	return modify(ctx, r, block.NewDiscoveredVolume(block.NamespaceName, name), func(res *block.DiscoveredVolume) { *res.TypedSpec() = spec })
}

func (c *Volumes) publishVolume(ctx context.Context, r controller.Writer, s plan.Status) error {
	v := s.Volume

	if err := modify(ctx, r, block.NewVolumeConfig(block.NamespaceName, v.ID), func(res *block.VolumeConfig) {
		spec := block.VolumeConfigSpec{Type: enums.VolumeTypePartition, Mount: block.MountSpec{TargetPath: v.Mount}}
		spec.Provisioning.PartitionSpec = block.PartitionSpec{MinSize: v.Min, MaxSize: v.Max, Grow: v.Grow, Label: v.Label, TypeUUID: v.Type}
		spec.Provisioning.FilesystemSpec = block.FilesystemSpec{Type: fsType(v.Filesystem), Label: v.Label}
		*res.TypedSpec() = spec
	}); err != nil {
		return err
	}

	if err := modify(ctx, r, block.NewVolumeStatus(block.NamespaceName, v.ID), func(res *block.VolumeStatus) {
		*res.TypedSpec() = volumeStatus(s)
	}); err != nil {
		return err
	}

	m, mounted := c.System.MountOf(s.Part.Major, s.Part.Minor)
	if !mounted || s.Part.Path == "" {
		return nil
	}

	return modify(ctx, r, runtime.NewMountStatus(runtime.NamespaceName, v.ID), func(res *runtime.MountStatus) {
		*res.TypedSpec() = runtime.MountStatusSpec{Source: s.Part.Path, Target: m.Target, FilesystemType: m.Type, Options: m.Options}
	})
}

func volumeStatus(s plan.Status) block.VolumeStatusSpec {
	spec := block.VolumeStatusSpec{
		Phase: s.Phase, Location: s.Part.Path, UUID: s.Part.FS.UUID, PartitionUUID: s.Part.UUID,
		PartitionIndex: s.Part.Index, Size: s.Part.Size, Filesystem: fsType(s.Part.FS.Type),
	}

	if s.Part.Path != "" {
		spec.ParentLocation, spec.MountLocation, spec.PrettySize = s.Disk, s.Part.Path, disk.PrettySize(s.Part.Size)
	}

	if s.Err != nil {
		spec.ErrorMessage, spec.PreFailPhase, spec.Phase = s.Err.Error(), s.Phase, enums.VolumePhaseFailed
	}

	return spec
}

func fsType(name string) enums.FilesystemType {
	t, err := enums.ParseFilesystemType(name)
	if err != nil {
		return enums.FilesystemTypeNone
	}

	return t
}
