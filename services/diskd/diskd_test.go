package diskd_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cosi-project/runtime/api/v1alpha1"
	"github.com/cosi-project/runtime/pkg/safe"
	"github.com/cosi-project/runtime/pkg/state"
	"github.com/cosi-project/runtime/pkg/state/protobuf/client"
	"golang.org/x/sys/unix"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/health"
	healthgrpc "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/emptypb"

	diskdv1 "github.com/dactyl-os/dactyl/proto/local/dactyl/diskd/v1"
	initv1 "github.com/dactyl-os/dactyl/proto/local/dactyl/init/v1"
	"github.com/dactyl-os/dactyl/proto/machine"
	"github.com/dactyl-os/dactyl/proto/meta"
	types "github.com/dactyl-os/dactyl/proto/resource"
	"github.com/dactyl-os/dactyl/proto/resource/block"
	"github.com/dactyl-os/dactyl/proto/resource/enums"
	"github.com/dactyl-os/dactyl/proto/resource/runtime"
	"github.com/dactyl-os/dactyl/proto/storage"
	"github.com/dactyl-os/dactyl/services/kit/kittest"

	"github.com/dactyl-os/dactyl/services/diskd"
	"github.com/dactyl-os/dactyl/services/diskd/internal/block/blocktest"
)

const (
	gib      = 1 << 30
	diskdPkg = "github.com/dactyl-os/dactyl/services/diskd/cmd/diskd"
	patience = 40 * time.Second
)

func TestMain(m *testing.M) { os.Exit(blocktest.Main(m)) }

type node struct {
	*kittest.Daemon

	t     *testing.T
	state state.State
	local diskdv1.DiskServiceClient
	disks []*blocktest.Disk
}

// start runs diskd over disks in a mount namespace that goes with the test.
func start(t *testing.T, cmdline, config string, disks ...*blocktest.Disk) *node {
	t.Helper()

	if err := types.Register(); err != nil {
		t.Fatal(err)
	}

	root := t.TempDir()
	if err := errors.Join(os.MkdirAll(filepath.Join(root, "proc"), 0o755),
		os.WriteFile(filepath.Join(root, "proc", "cmdline"), []byte(cmdline), 0o644)); err != nil {
		t.Fatal(err)
	}

	var paths []string
	for _, d := range disks {
		paths = append(paths, d.Path)
	}

	blocktest.PrivateMounts(t)
	t.Cleanup(func() {
		for range 3 {
			for _, target := range mountsBelow(root) {
				unix.Unmount(target, unix.MNT_DETACH) //nolint:errcheck // the namespace goes anyway
			}
		}
	})

	n := &node{t: t, disks: disks}
	n.Daemon = kittest.Start(t, diskdPkg, kittest.Options{
		Root: root, Config: config, Env: []string{diskd.DisksEnv + "=" + strings.Join(paths, ",")},
	})
	n.state = state.WrapCore(client.NewAdapter(v1alpha1.NewStateClient(n.Conn())))
	n.local = diskdv1.NewDiskServiceClient(n.Conn())

	return n
}

func mountsBelow(root string) []string {
	var targets []string

	data, _ := os.ReadFile("/proc/self/mountinfo") // none then
	for line := range strings.Lines(string(data)) {
		if fields := strings.Fields(line); len(fields) > 4 && strings.HasPrefix(fields[4], root+"/") {
			targets = append([]string{fields[4]}, targets...)
		}
	}

	return targets
}

// await waits until volumes are in phases: "META ready".
func (n *node) await(wants ...string) {
	n.t.Helper()

	kittest.AwaitNoError(n.t, patience, func() error {
		for _, want := range wants {
			id, phase, _ := strings.Cut(want, " ")

			res, err := safe.ReaderGetByID[*block.VolumeStatus](n.t.Context(), n.state, id)
			if err != nil {
				return err
			}

			if s := res.TypedSpec(); s.Phase.String() != phase {
				return fmt.Errorf("%s is %s, want %s: %s\n%s", id, s.Phase, phase, s.ErrorMessage, n.Log())
			}
		}

		return nil
	})
}

func installConfig(disks ...*blocktest.Disk) string {
	text := "version: v1alpha1\nmachine:\n  type: worker\n  install:\n    disk: " + disks[0].Path + "\n"
	if len(disks) > 1 {
		text += "  disks:\n    - device: " + disks[1].Path +
			"\n      partitions:\n        - {size: 64MiB, mountpoint: /var/mnt/a}\n        - {mountpoint: /var/mnt/b}\n"
	}

	return text
}

// steps are the lines of the log that tell of a step.
func (n *node) steps() int { return strings.Count(n.Log(), "disk step") }

func TestInstall(t *testing.T) {
	blocktest.PrivateMounts(t)

	system, user := blocktest.NewDisk(t, 6*gib), blocktest.NewDisk(t, gib)
	n := start(t, "talos.platform=metal", installConfig(system, user), system, user)

	n.await("META ready", "STATE ready", "EPHEMERAL ready", "EFI ready", "BOOT ready", user.Path+"-1 ready", user.Path+"-2 ready")

	outside(t, system, user)
	resources(n, system)
	writeMeta(n)

	// A daemon that was killed finds everything as it is and changes nothing.
	state := filepath.Join(n.Root, "system/state")
	if err := os.WriteFile(filepath.Join(state, "kept"), []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}

	before, mounts := n.steps(), mountsBelow(n.Root)

	n.Restart()
	n.await("META ready", "STATE ready", "EPHEMERAL ready", user.Path+"-2 ready")

	if after := n.steps(); after != before {
		t.Errorf("%d steps after the restart:\n%s", after-before, n.Log())
	}

	if got := mountsBelow(n.Root); strings.Join(got, " ") != strings.Join(mounts, " ") || len(got) != 4 {
		t.Errorf("mounts were %q, are %q", mounts, got)
	}

	// The next boot: nothing is mounted, the disk has become larger.
	n.Kill()

	for _, target := range mounts {
		if err := unix.Unmount(target, 0); err != nil {
			t.Fatalf("unmount %s: %v", target, err)
		}
	}

	system.Grow(t, 8*gib)
	n.Launch()
	n.AwaitServing()
	n.await("EPHEMERAL ready", "STATE ready")

	if _, err := os.Stat(filepath.Join(state, "kept")); err != nil {
		t.Error(err)
	}

	grown(t, n)
}

// outside asks Debian's programs.
func outside(t *testing.T, system, user *blocktest.Disk) {
	t.Helper()

	if out := blocktest.Run(t, "sgdisk", "--verify", system.Path); !strings.Contains(out, "No problems found") {
		t.Errorf("sgdisk: %s", out)
	}

	table := blocktest.Run(t, "sgdisk", "--print", system.Path)
	for _, want := range []string{"100.0 MiB   EF00  EFI", "1024.0 KiB  EF02  BIOS", "1000.0 MiB  8300  BOOT", "1024.0 KiB  8300  META", "100.0 MiB   8300  STATE", "GiB     8300  EPHEMERAL"} {
		if !strings.Contains(table, want) {
			t.Errorf("the table has no %q:\n%s", want, table)
		}
	}

	for path, label := range map[string]string{system.Path + "p5": "STATE", system.Path + "p6": "EPHEMERAL", user.Path + "p2": "user-2"} {
		if out := blocktest.Run(t, "blkid", "-p", path); !strings.Contains(out, `TYPE="ext4"`) || !strings.Contains(out, `LABEL="`+label+`"`) {
			t.Errorf("blkid: %s", out)
		}
	}
}

func resources(n *node, system *blocktest.Disk) {
	t := n.t
	t.Helper()

	name := filepath.Base(system.Path)

	d, err := safe.ReaderGetByID[*block.Disk](t.Context(), n.state, name)
	if err != nil || d.TypedSpec().Size != 6*gib || d.TypedSpec().PrettySize != "6.4 GB" {
		t.Errorf("disk: %+v %v", d, err)
	}

	found, err := safe.ReaderGetByID[*block.DiscoveredVolume](t.Context(), n.state, name+"p5")
	if err != nil || found.TypedSpec().PartitionLabel != "STATE" || found.TypedSpec().Name != "ext4" || found.TypedSpec().Parent != name {
		t.Errorf("discovered volume: %+v %v", found, err)
	}

	sys, err := safe.ReaderGetByID[*block.SystemDisk](t.Context(), n.state, "system-disk")
	if err != nil || sys.TypedSpec().DevPath != system.Path {
		t.Errorf("system disk: %+v %v", sys, err)
	}

	m, err := safe.ReaderGetByID[*runtime.MountStatus](t.Context(), n.state, "STATE")
	if err != nil || m.TypedSpec().Target != filepath.Join(n.Root, "system/state") || m.TypedSpec().FilesystemType != "ext4" {
		t.Errorf("mount: %+v %v", m, err)
	}

	u, err := safe.ReaderGetByID[*block.UserDiskConfigStatus](t.Context(), n.state, "user-disks")
	if err != nil || !u.TypedSpec().Ready {
		t.Errorf("user disks: %+v %v", u, err)
	}

	answer, err := storage.NewStorageServiceClient(n.Conn()).Disks(t.Context(), &emptypb.Empty{})
	if err != nil || len(answer.GetMessages()[0].GetDisks()) != 2 {
		t.Errorf("disks: %v %v", answer, err)
	}
}

func writeMeta(n *node) {
	t := n.t
	t.Helper()

	data, err := meta.Encode(meta.Values{0x0a: []byte("addresses: []")}, 7)
	if err != nil {
		t.Fatal(err)
	}

	if _, err := n.local.WriteMeta(t.Context(), &diskdv1.WriteMetaRequest{Data: data}); err != nil {
		t.Fatal(err)
	}

	answer, err := n.local.ReadMeta(t.Context(), &diskdv1.ReadMetaRequest{})
	if err != nil {
		t.Fatal(err)
	}

	values, generation, err := meta.Decode(answer.GetData())
	if err != nil || generation != 7 || string(values[0x0a]) != "addresses: []" {
		t.Errorf("META reads %v, generation %d, %v", values, generation, err)
	}

	if _, err := n.local.WriteMeta(t.Context(), &diskdv1.WriteMetaRequest{Data: []byte("x")}); err == nil {
		t.Error("bytes that are no META are written")
	}
}

func grown(t *testing.T, n *node) {
	t.Helper()

	var fs unix.Statfs_t

	kittest.AwaitNoError(t, patience, func() error {
		if err := unix.Statfs(filepath.Join(n.Root, "var"), &fs); err != nil {
			return err
		}

		if size := int64(fs.Blocks) * fs.Bsize; size < 6*gib {
			return fmt.Errorf("EPHEMERAL has %d bytes\n%s", size, n.Log())
		}

		return nil
	})
}

// Without a configuration nothing is written; Install makes the disk with the one that arrives.
func TestMaintenance(t *testing.T) {
	blocktest.PrivateMounts(t)

	disk := blocktest.NewDisk(t, 5*gib)
	n := start(t, "talos.platform=metal", "", disk)

	n.await("META missing", "STATE missing", "EPHEMERAL missing")

	if _, err := n.local.ReadMeta(t.Context(), &diskdv1.ReadMetaRequest{}); status.Code(err) != codes.NotFound {
		t.Errorf("META before an install: %v", err)
	}

	if n.steps() != 0 || blocks(t, disk) != 0 {
		t.Errorf("the disk was written to: %d blocks\n%s", blocks(t, disk), n.Log())
	}

	none := strings.Replace(installConfig(disk), disk.Path, "/dev/vda", 1)
	if _, err := n.local.Install(t.Context(), &diskdv1.InstallRequest{MachineConfig: []byte(none)}); status.Code(err) != codes.FailedPrecondition {
		t.Errorf("install to a disk that is not the daemon's: %v", err)
	}

	// What was written for want of a disk is on the disk afterwards.
	early := filepath.Join(n.Root, "system/state/trust/early")
	if err := errors.Join(os.MkdirAll(filepath.Dir(early), 0o700), os.WriteFile(early, []byte("x"), 0o600)); err != nil {
		t.Fatal(err)
	}

	for range 2 {
		answer, err := n.local.Install(t.Context(), &diskdv1.InstallRequest{MachineConfig: []byte(installConfig(disk))})
		if err != nil || answer.GetDisk() != disk.Path {
			t.Fatalf("install: %v %v\n%s", answer, err, n.Log())
		}
	}

	n.await("META ready", "STATE ready", "EPHEMERAL waiting")

	var on unix.Stat_t
	if info, err := os.Stat(early); err != nil || info.Mode().Perm() != 0o600 || unix.Stat(early, &on) != nil || unix.Major(on.Dev) == unix.Major(deviceOf(t, n.Root)) {
		t.Errorf("carried over: %v %v", info, err)
	}

	_, err := machine.NewMachineServiceClient(n.Conn()).Upgrade(t.Context(), &machine.UpgradeRequest{})
	if status.Code(err) != codes.Unimplemented || !strings.Contains(err.Error(), "installer comes later") {
		t.Errorf("upgrade: %v", err)
	}
}

func deviceOf(t *testing.T, path string) uint64 {
	t.Helper()

	var s unix.Stat_t
	if err := unix.Stat(path, &s); err != nil {
		t.Fatal(err)
	}

	return s.Dev
}

func blocks(t *testing.T, d *blocktest.Disk) int64 {
	t.Helper()

	var s unix.Stat_t
	if err := unix.Stat(d.File, &s); err != nil {
		t.Fatal(err)
	}

	return s.Blocks
}

// What is on a disk stays on it unless the configuration has it wiped.
func TestKeepsForeignData(t *testing.T) {
	blocktest.PrivateMounts(t)

	disk := blocktest.NewDisk(t, 5*gib)
	blocktest.Run(t, "mkfs.ext4", "-q", "-L", "precious", disk.Path)

	n := start(t, "talos.platform=metal", installConfig(disk), disk)
	n.await("STATE failed", "META failed")

	res, err := safe.ReaderGetByID[*block.VolumeStatus](t.Context(), n.state, "STATE")
	if err != nil || !strings.Contains(res.TypedSpec().ErrorMessage, "holds ext4: machine.install.wipe: true") || res.TypedSpec().PreFailPhase != enums.VolumePhaseWaiting {
		t.Errorf("status %+v, %v", res.TypedSpec(), err)
	}

	blocktest.Run(t, "e2fsck", "-fn", disk.Path)

	wipe := strings.Replace(installConfig(disk), "install:\n", "install:\n    wipe: true\n", 1)
	if _, err := n.local.Install(t.Context(), &diskdv1.InstallRequest{MachineConfig: []byte(wipe)}); err != nil {
		t.Fatal(err)
	}

	n.await("STATE ready")
}

// A container has no disks, whatever it is told.
func TestContainer(t *testing.T) {
	blocktest.PrivateMounts(t)

	disk := blocktest.NewDisk(t, 5*gib)
	n := start(t, "talos.platform=container", installConfig(disk), disk)

	answer, err := storage.NewStorageServiceClient(n.Conn()).Disks(t.Context(), &emptypb.Empty{})
	if err != nil || len(answer.GetMessages()[0].GetDisks()) != 0 {
		t.Errorf("disks %v, %v", answer, err)
	}

	_, err = machine.NewMachineServiceClient(n.Conn()).Reset(t.Context(), &machine.ResetRequest{})
	if status.Code(err) != codes.FailedPrecondition {
		t.Errorf("reset: %v", err)
	}

	list, err := safe.ReaderListAll[*block.Disk](context.WithoutCancel(t.Context()), n.state)
	if err != nil || list.Len() != 0 || blocks(t, disk) != 0 {
		t.Errorf("%d disks, %v", list.Len(), err)
	}
}

// brother plays init and etcdd: it counts what it is asked.
type brother struct {
	machine.UnimplementedMachineServiceServer
	initv1.UnimplementedInitServiceServer

	calls chan string
	stays atomic.Bool // init refuses to go down
}

func (b *brother) Release(context.Context, *initv1.ReleaseRequest) (*initv1.ReleaseResponse, error) {
	b.calls <- "release"

	return &initv1.ReleaseResponse{}, nil
}

// GoDown tells what was asked for in one word.
func (b *brother) GoDown(_ context.Context, in *initv1.GoDownRequest) (*initv1.GoDownResponse, error) {
	word := in.GetSequence()
	if in.GetReboot() {
		word += "+reboot"
	}

	b.calls <- word

	if b.stays.Load() {
		return nil, status.Error(codes.FailedPrecondition, "going down already")
	}

	return &initv1.GoDownResponse{ActorId: "actor"}, nil
}

func (b *brother) EtcdLeaveCluster(context.Context, *machine.EtcdLeaveClusterRequest) (*machine.EtcdLeaveClusterResponse, error) {
	b.calls <- "leave"

	return &machine.EtcdLeaveClusterResponse{}, nil
}

// play serves as init and etcdd beside the node's diskd.
func (n *node) play() *brother {
	n.t.Helper()

	b := &brother{calls: make(chan string, 10)}

	for _, name := range []string{"init", "etcdd"} {
		listener, err := net.Listen("unix", filepath.Join(n.RunDir, name+".sock"))
		if err != nil {
			n.t.Fatal(err)
		}

		server := grpc.NewServer()
		machine.RegisterMachineServiceServer(server, b)
		initv1.RegisterInitServiceServer(server, b)
		healthgrpc.RegisterHealthServer(server, health.NewServer())

		go server.Serve(listener) //nolint:errcheck // it ends with the test

		n.t.Cleanup(server.Stop)
	}

	return b
}

func (n *node) reset(in *machine.ResetRequest) error {
	n.t.Helper()

	answer, err := machine.NewMachineServiceClient(n.Conn()).Reset(n.t.Context(), in)
	if err == nil && answer.GetMessages()[0].GetActorId() != "actor" {
		n.t.Errorf("answer %v", answer)
	}

	return err
}

// Ways in which a machine goes down.
const (
	inOrder  = "in order"
	powerCut = "power cut"
	inUse    = "in order, but something holds /var" // diskd gives up after its time
)

// reboot ends the daemon as a machine that goes down does. What is mounted goes then, and what is to happen while the machine is
// off happens.
func (n *node) reboot(way string, off ...func()) {
	n.t.Helper()

	var held *os.File

	if way == inUse {
		var err error
		if held, err = os.Open(filepath.Join(n.Root, "var")); err != nil {
			n.t.Fatal(err)
		}
	}

	if way != powerCut {
		if err := n.Stop(n.t.Context()); err != nil {
			n.t.Fatal(err)
		}
	} else {
		n.Kill()
	}

	if held != nil {
		held.Close() // only read
	}

	for _, target := range mountsBelow(n.Root) {
		if err := unix.Unmount(target, 0); err != nil {
			n.t.Fatalf("unmount %s: %v", target, err)
		}
	}

	os.Remove(filepath.Join(n.RunDir, "diskd/resetting")) // /run is a tmpfs

	for _, happen := range off {
		happen()
	}

	n.Launch()
	n.AwaitServing()
}

func TestReset(t *testing.T) {
	disk := blocktest.NewDisk(t, 5*gib)
	n := start(t, "talos.platform=metal", "", disk)
	b := n.play()
	calls := b.calls

	install := func() {
		t.Helper()

		if _, err := n.local.Install(t.Context(), &diskdv1.InstallRequest{MachineConfig: []byte(installConfig(disk))}); err != nil {
			t.Fatalf("%v\n%s", err, n.Log())
		}
	}

	kept := filepath.Join(n.Root, "system/state/kept")
	gone := filepath.Join(n.Root, "var/gone")

	write := func() {
		t.Helper()
		install()

		if err := errors.Join(os.WriteFile(kept, nil, 0o600), os.WriteFile(gone, nil, 0o600)); err != nil {
			t.Fatal(err)
		}
	}

	if err := n.reset(&machine.ResetRequest{}); status.Code(err) != codes.FailedPrecondition {
		t.Errorf("reset of nothing: %v", err)
	}

	// EPHEMERAL alone, and the power goes before the machine is down: the mark survives, STATE and META are kept.
	for _, way := range []string{inOrder, powerCut, inUse} {
		write()
		writeMeta(n)

		if err := n.reset(&machine.ResetRequest{
			Graceful: true, Reboot: true, SystemPartitionsToWipe: []*machine.ResetPartitionSpec{{Label: "EPHEMERAL", Wipe: true}},
		}); err != nil {
			t.Fatal(err)
		}

		if first, second := <-calls, <-calls; first != "leave" || second != "reset+reboot" {
			t.Errorf("called %s, %s", first, second)
		}

		n.reboot(way)
		n.await("STATE ready", "META ready")

		if released := way == powerCut || <-calls == "release"; !released {
			t.Errorf("%s: init was not asked to let go of its logs", way)
		}

		install()

		if _, err := os.Stat(kept); err != nil {
			t.Error(err)
		}

		if _, err := os.Stat(gone); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("EPHEMERAL was not wiped: %v\n%s", err, n.Log())
		}

		answer, err := n.local.ReadMeta(t.Context(), &diskdv1.ReadMetaRequest{})
		if values, _, decodeErr := meta.Decode(answer.GetData()); err != nil || decodeErr != nil || len(values) != 1 {
			t.Errorf("META: %v %v %v", values, err, decodeErr)
		}
	}

	// init does not go down: nothing is left marked.
	b.stays.Store(true)
	write()

	if err := n.reset(&machine.ResetRequest{}); status.Code(err) != codes.FailedPrecondition || !strings.Contains(err.Error(), "no partition is wiped") {
		t.Errorf("reset of a machine that stays up: %v", err)
	}

	b.stays.Store(false)
	<-calls
	n.reboot(inOrder)
	n.await("STATE ready", "META ready")

	if _, err := os.Stat(kept); err != nil || strings.Contains(n.Log(), "step=\"wipe "+disk.Path+"\"") {
		t.Errorf("wiped after a reset that was refused: %v\n%s", err, n.Log())
	}

	// Everything: the machine has nothing then, again whether it goes down in order or not.
	for _, way := range []string{inOrder, powerCut} {
		write()

		if err := n.reset(&machine.ResetRequest{}); err != nil {
			t.Fatal(err)
		}

		if call := <-calls; call != "reset" {
			t.Errorf("called %s", call)
		}

		n.reboot(way)
		n.await("STATE missing", "META missing")

		if released := way == powerCut || <-calls == "release"; !released {
			t.Errorf("%s: init was not asked to let go of its logs", way)
		}

		if out, err := exec.Command("blkid", "-p", disk.Path).CombinedOutput(); err == nil {
			t.Errorf("the disk still holds %s", out)
		}
	}

	if err := n.reset(&machine.ResetRequest{Mode: machine.ResetRequest_USER_DISKS, UserDisksToWipe: []string{"/dev/vda"}}); status.Code(err) != codes.FailedPrecondition {
		t.Errorf("reset of a disk that is not the daemon's: %v", err)
	}
}

// metal-iso and NoCloud seeds are filesystems that are found by their label.
func TestMountLabel(t *testing.T) {
	disk := blocktest.NewDisk(t, 64<<20)
	blocktest.Run(t, "mkfs.ext4", "-q", "-L", "metal-iso", disk.Path)

	n := start(t, "talos.platform=metal", "", disk)

	for range 2 {
		answer, err := n.local.MountLabel(t.Context(), &diskdv1.MountLabelRequest{Label: "METAL-ISO"})
		if err != nil || answer.GetPath() != filepath.Join(n.Root, "run/dactyl/volumes/metal-iso") {
			t.Fatalf("%v %v", answer, err)
		}

		if err := os.WriteFile(filepath.Join(answer.GetPath(), "x"), nil, 0o600); !errors.Is(err, unix.EROFS) {
			t.Errorf("write to it: %v", err)
		}
	}

	for range 2 {
		if _, err := n.local.UnmountLabel(t.Context(), &diskdv1.UnmountLabelRequest{Label: "metal-iso"}); err != nil {
			t.Error(err)
		}
	}

	blocktest.Run(t, "mkswap", "-L", "swap", disk.Path)

	for label, want := range map[string]codes.Code{"cidata": codes.NotFound, "swap": codes.FailedPrecondition, "../x": codes.InvalidArgument, "STATE": codes.InvalidArgument} {
		if _, err := n.local.MountLabel(t.Context(), &diskdv1.MountLabelRequest{Label: label}); status.Code(err) != want {
			t.Errorf("%s: %v", label, err)
		}
	}
}

// configd waits for STATE, so diskd must not wait for configd: its socket is there, and nobody answers.
func TestBootsBeforeConfigd(t *testing.T) {
	disk := blocktest.NewDisk(t, 5*gib)
	n := start(t, "talos.platform=metal", "", disk)

	if _, err := n.local.Install(t.Context(), &diskdv1.InstallRequest{MachineConfig: []byte(installConfig(disk))}); err != nil {
		t.Fatal(err)
	}

	listener, err := net.Listen("unix", filepath.Join(n.RunDir, "configd.sock"))
	if err != nil {
		t.Fatal(err)
	}

	defer listener.Close() // nothing was written

	begin := time.Now()

	n.reboot(powerCut)
	n.await("STATE ready", "META ready", "EPHEMERAL waiting")

	if took := time.Since(begin); took > 3*time.Second {
		t.Errorf("STATE took %s", took)
	}
}
