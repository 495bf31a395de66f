// Package operators serves diskd's methods.
package operators

import (
	"context"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/emptypb"

	"github.com/dactyl-os/dactyl/proto/machine"
	"github.com/dactyl-os/dactyl/proto/storage"

	"github.com/dactyl-os/dactyl/services/diskd/internal/block"
	"github.com/dactyl-os/dactyl/services/diskd/internal/disk"
	"github.com/dactyl-os/dactyl/services/diskd/internal/plan"
)

// Storage serves storage.StorageService.
type Storage struct {
	storage.UnimplementedStorageServiceServer

	System *block.System
}

// Disks lists the machine's disks; a container has none.
func (s *Storage) Disks(context.Context, *emptypb.Empty) (*storage.DisksResponse, error) {
	disks, err := s.System.Disks()
	if err != nil {
		return nil, status.Error(codes.Internal, err.Error())
	}

	out := &storage.Disks{}

	for _, d := range disks {
		out.Disks = append(out.Disks, &storage.Disk{
			Size: d.Size, Model: d.Model, DeviceName: d.Path, Name: d.Name, Serial: d.Serial, Modalias: d.Modalias,
			Uuid: d.UUID, Wwid: d.WWID, Type: diskType(d), BusPath: d.BusPath, SystemDisk: plan.Installed(d),
			Subsystem: d.SubSystem, Readonly: d.ReadOnly,
		})
	}

	return &storage.DisksResponse{Messages: []*storage.Disks{out}}, nil
}

func diskType(d disk.Disk) storage.Disk_DiskType {
	return map[string]storage.Disk_DiskType{
		"ssd": storage.Disk_SSD, "hdd": storage.Disk_HDD, "nvme": storage.Disk_NVME, "sd": storage.Disk_SD, "cd": storage.Disk_CD,
	}[plan.Type(d)]
}

// Upgrade comes with the installer.
func (m *Machine) Upgrade(context.Context, *machine.UpgradeRequest) (*machine.UpgradeResponse, error) {
	return nil, status.Error(codes.Unimplemented, "diskd cannot upgrade yet: the installer comes later")
}

// Rollback comes with the installer.
func (m *Machine) Rollback(context.Context, *machine.RollbackRequest) (*machine.RollbackResponse, error) {
	return nil, status.Error(codes.Unimplemented, "diskd cannot roll back yet: the installer comes later")
}
