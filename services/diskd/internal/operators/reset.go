package operators

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	initv1 "github.com/dactyl-os/dactyl/proto/local/dactyl/init/v1"
	"github.com/dactyl-os/dactyl/proto/machine"

	"github.com/dactyl-os/dactyl/services/diskd/internal/block"
	"github.com/dactyl-os/dactyl/services/diskd/internal/controllers"
	"github.com/dactyl-os/dactyl/services/diskd/internal/disk"
	"github.com/dactyl-os/dactyl/services/diskd/internal/plan"
)

// Machine serves diskd's part of machine.MachineService.
type Machine struct {
	machine.UnimplementedMachineServiceServer

	System *block.System
	Engine *controllers.Engine
	Log    *slog.Logger
	// Dial connects to another daemon; Runs tells whether it is on this node.
	Dial func(owner string) (*grpc.ClientConn, error)
	Runs func(owner string) bool
	// Unconfigured tells that the node is in maintenance mode: no etcd runs, and who calls it would wait for its start.
	Unconfigured func(ctx context.Context) bool
	// Resetting is written when disks are marked: the daemon's end ends the reset.
	Resetting string
	// Patience is how long to wait, on the way down, for others to let go of what is to be wiped.
	Patience time.Duration
}

// Wish is what a reset shall wipe.
type Wish struct {
	// Marks are the partitions to mark by disk; an empty list is all of a disk's.
	Marks map[string][]int
	// Wipe are disks without a partition table, which are wiped at once.
	Wipe []string
}

// Reset marks what shall be wiped and has the machine go down. The marks are in the partition table: whatever happens on
// the way, what is marked is wiped before it is used again.
func (m *Machine) Reset(ctx context.Context, in *machine.ResetRequest) (*machine.ResetResponse, error) {
	if m.System.Scope.Empty() {
		return nil, status.Error(codes.FailedPrecondition, "this node has no disks of its own to reset")
	}

	disks, err := m.System.Disks()
	if err != nil {
		return nil, status.Error(codes.Internal, err.Error())
	}

	wish, err := Plan(disks, in)
	if err != nil {
		return nil, status.Error(codes.FailedPrecondition, err.Error())
	}

	// With user disks alone the node stays what it is.
	if in.GetGraceful() && in.GetMode() != machine.ResetRequest_USER_DISKS {
		if err := m.leaveEtcd(ctx); err != nil {
			return nil, status.Errorf(status.Code(err), "leave etcd: %s (--graceful=false resets without leaving)", status.Convert(err).Message())
		}
	}

	if err := m.mark(wish); err != nil {
		return nil, status.Errorf(codes.Internal, "mark what is to be wiped: %s", err)
	}

	actor, err := m.goDown(ctx, in.GetReboot())
	if err != nil {
		err = status.Errorf(status.Code(err), "the machine does not go down, and no partition is wiped: %s", status.Convert(err).Message())
		if e := m.unmark(wish); e != nil {
			err = status.Errorf(status.Code(err), "%s; what is marked stays so and is wiped at the next start: %s", status.Convert(err).Message(), e)
		}

		return nil, err
	}

	return &machine.ResetResponse{Messages: []*machine.Reset{{ActorId: actor}}}, nil
}

// Plan decides what a request wipes.
func Plan(disks []disk.Disk, in *machine.ResetRequest) (Wish, error) {
	wish := Wish{Marks: map[string][]int{}}

	var system *disk.Disk

	for i := range disks {
		if plan.Installed(disks[i]) {
			system = &disks[i]
		}
	}

	if err := consistent(in); err != nil {
		return wish, err
	}

	for _, path := range in.GetUserDisksToWipe() {
		if err := wish.userDisk(disks, system, path); err != nil {
			return wish, err
		}
	}

	switch {
	case in.GetMode() == machine.ResetRequest_USER_DISKS:
		return wish, nil
	case system == nil:
		return wish, errNoSystemDisk
	case len(in.GetSystemPartitionsToWipe()) == 0:
		wish.Marks[system.Path] = nil

		return wish, nil
	}

	for _, spec := range in.GetSystemPartitionsToWipe() {
		p, ok := system.Part(spec.GetLabel())

		switch {
		case !ok:
			return wish, fmt.Errorf("%s has no partition %s (it has %s)", system.Path, spec.GetLabel(), system.Labels())
		case spec.GetWipe():
			wish.Marks[system.Path] = append(wish.Marks[system.Path], p.Index)
		}
	}

	if len(wish.Marks[system.Path]) == 0 {
		return wish, errors.New("none of the partitions named is to be wiped")
	}

	return wish, nil
}

// consistent refuses what the mode would leave out silently.
func consistent(in *machine.ResetRequest) error {
	disks, labels := len(in.GetUserDisksToWipe()) > 0, len(in.GetSystemPartitionsToWipe()) > 0

	switch {
	case in.GetMode() == machine.ResetRequest_USER_DISKS && labels:
		return errors.New("wiping only user disks and partitions of the system disk exclude each other")
	case in.GetMode() == machine.ResetRequest_USER_DISKS && !disks:
		return errors.New("no user disks are named")
	case in.GetMode() == machine.ResetRequest_SYSTEM_DISK && disks:
		return errors.New("wiping only the system disk and user disks exclude each other")
	}

	return nil
}

func (w *Wish) userDisk(disks []disk.Disk, system *disk.Disk, path string) error {
	if system != nil && system.Path == path {
		return fmt.Errorf("%s is the system disk, not a user disk", path)
	}

	for _, d := range disks {
		switch {
		case d.Path != path:
		case d.ReadOnly || d.CDROM:
			return fmt.Errorf("%s cannot be written to", path)
		case d.Mount != "":
			return fmt.Errorf("%s is in use: it is mounted at %s", path, d.Mount)
		case d.Content == disk.GPT && len(d.Parts) > 0:
			w.Marks[path] = nil

			return nil
		default:
			w.Wipe = append(w.Wipe, path)

			return nil
		}
	}

	return fmt.Errorf("there is no disk %s", path)
}

func (m *Machine) mark(wish Wish) error {
	if err := os.WriteFile(m.Resetting, nil, 0o600); err != nil {
		return err
	}

	// What cannot be marked goes first: a disk that turns out to be in use ends the reset before it began.
	for _, path := range wish.Wipe {
		if err := m.System.WipeDisk(path); err != nil {
			return err
		}

		m.Log.Info("reset", "disk", path)
	}

	for path, parts := range wish.Marks {
		if err := m.System.Mark(path, true, parts...); err != nil {
			return err
		}

		m.Log.Info("reset", "disk", path, "partitions", parts)
	}

	return nil
}

func (m *Machine) unmark(wish Wish) error {
	errs := []error{os.Remove(m.Resetting)}

	for path, parts := range wish.Marks {
		errs = append(errs, m.System.Mark(path, false, parts...))
	}

	return errors.Join(errs...)
}

// leaveEtcd has this node's member leave, where there is one. The last member of a cluster does not.
func (m *Machine) leaveEtcd(ctx context.Context) error {
	if !m.Runs("etcdd") || m.Unconfigured(ctx) {
		return nil
	}

	conn, err := m.Dial("etcdd")
	if err != nil {
		return err
	}

	_, err = machine.NewMachineServiceClient(conn).EtcdLeaveCluster(ctx, &machine.EtcdLeaveClusterRequest{})
	if status.Code(err) == codes.NotFound {
		return nil // it was never bootstrapped, or has left already
	}

	return err
}

func (m *Machine) goDown(ctx context.Context, reboot bool) (string, error) {
	conn, err := m.Dial("init")
	if err != nil {
		return "", err
	}

	answer, err := initv1.NewInitServiceClient(conn).GoDown(ctx, &initv1.GoDownRequest{Sequence: "reset", Reboot: reboot})

	return answer.GetActorId(), err
}
