package diskd_test

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cosi-project/runtime/api/v1alpha1"
	"github.com/cosi-project/runtime/pkg/safe"
	"github.com/cosi-project/runtime/pkg/state"
	"github.com/cosi-project/runtime/pkg/state/protobuf/client"

	"github.com/dactyl-os/dactyl/proto/config/generate"
	"github.com/dactyl-os/dactyl/proto/machine"
	"github.com/dactyl-os/dactyl/proto/meta"
	configres "github.com/dactyl-os/dactyl/proto/resource/config"
	"github.com/dactyl-os/dactyl/proto/resource/runtime"
	"github.com/dactyl-os/dactyl/services/kit/kittest"

	"github.com/dactyl-os/dactyl/services/diskd/internal/block/blocktest"
)

// pair is diskd with a configd that keeps META and the configuration by it.
type pair struct {
	*node

	configd *kittest.Daemon
}

func startPair(t *testing.T, cmdline string, disks ...*blocktest.Disk) pair {
	t.Helper()

	n := start(t, cmdline, "", disks...)

	return pair{n, kittest.Start(t, "../configd/cmd/configd", kittest.Options{
		Root: n.Root, RunDir: n.RunDir, StateDir: filepath.Join(n.Root, "system/state"),
	})}
}

func (p pair) write(ctx context.Context, key uint8, value string) error {
	_, err := machine.NewMachineServiceClient(p.configd.Conn()).MetaWrite(ctx, &machine.MetaWriteRequest{Key: uint32(key), Value: []byte(value)})

	return err
}

func (p pair) mustWrite(key uint8, value string) {
	p.t.Helper()

	if err := p.write(p.t.Context(), key, value); err != nil {
		p.t.Fatal(err)
	}
}

// config names the first disk.
func (p pair) config() []byte {
	p.t.Helper()

	out, err := generate.Config(generate.Input{ClusterName: "t", Endpoint: "https://10.5.0.2:6443"})
	if err != nil {
		p.t.Fatal(err)
	}

	return []byte(strings.Replace(string(out.Worker), "/dev/sda", p.disks[0].Path, 1))
}

// install applies a configuration.
func (p pair) install() {
	p.t.Helper()

	if _, err := machine.NewMachineServiceClient(p.configd.Conn()).ApplyConfiguration(p.t.Context(), &machine.ApplyConfigurationRequest{Data: p.config()}); err != nil {
		p.t.Fatalf("%v\n%s", err, p.Log())
	}
}

// resources are configd's.
func (p pair) resources() state.State {
	return state.WrapCore(client.NewAdapter(v1alpha1.NewStateClient(p.configd.Conn())))
}

// published gives what configd tells of META.
func (p pair) published() meta.Values {
	p.t.Helper()

	keys, err := safe.StateListAll[*runtime.MetaKey](p.t.Context(), p.resources())
	if err != nil {
		p.t.Fatal(err)
	}

	values := meta.Values{}

	for key := range keys.All() {
		var id uint8
		if _, err := fmt.Sscanf(key.Metadata().ID(), "0x%x", &id); err != nil {
			p.t.Fatal(err)
		}

		values[id] = []byte(key.TypedSpec().Value)
	}

	return values
}

func (p pair) configured() bool {
	p.t.Helper()

	_, err := p.resources().Get(p.t.Context(), configres.NewMachineConfig(configres.NamespaceName, configres.ActiveID).Metadata())

	if err != nil && !state.IsNotFoundError(err) {
		p.t.Fatal(err)
	}

	return err == nil
}

// onDisk decodes the partition's bytes.
func (p pair) onDisk() meta.Values {
	p.t.Helper()

	data, err := os.ReadFile(p.disks[0].Path + "p4")
	if err != nil {
		p.t.Fatal(err)
	}

	values, _, err := meta.Decode(data[:meta.Size])
	if err != nil {
		p.t.Fatal(err)
	}

	return values
}

// holds compares both views of META.
func (p pair) holds(want string) {
	p.t.Helper()

	for what, values := range map[string]meta.Values{"published": p.published(), "on the disk": p.onDisk()} {
		if got := show(values); got != want {
			p.t.Errorf("%s: %q, want %q", what, got, want)
		}
	}
}

func show(values meta.Values) string {
	var out []string
	for _, key := range slices.Sorted(maps.Keys(values)) {
		out = append(out, fmt.Sprintf("%x=%s", key, values[key]))
	}

	return strings.Join(out, " ")
}

// reboot takes both daemons down and up again.
func (p pair) reboot(way string, off ...func()) {
	p.t.Helper()
	p.configd.Kill()
	os.Remove(filepath.Join(p.RunDir, "configd/meta")) // /run is a tmpfs
	p.node.reboot(way, off...)
	p.configd.Launch()
	p.configd.AwaitServing()
}

// META of a machine is in the partition: from before there was one, over boots, and over the loss of STATE.
func TestMetaOfConfigd(t *testing.T) {
	blocktest.PrivateMounts(t)

	disk := blocktest.NewDisk(t, 5*gib)
	given := base64.StdEncoding.EncodeToString([]byte("0xa=given"))
	p := startPair(t, "talos.platform=metal talos.environment=INSTALLER_META_BASE64="+given, disk)
	calls := p.play().calls

	p.mustWrite(0x0b, "early")

	if blocks(t, disk) != 0 {
		t.Error("the disk was written to in maintenance")
	}

	p.configd.Restart()
	p.install()
	p.holds("a=given b=early")

	if _, err := os.Stat(filepath.Join(p.Root, "system/state/meta")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("META is a file, too: %v", err)
	}

	p.mustWrite(0x0a, "written")
	p.reboot(powerCut)
	p.holds("a=written b=early")

	if !p.configured() {
		t.Error("the configuration is gone")
	}

	// STATE is wiped: the machine is in maintenance and has its META.
	if err := p.reset(&machine.ResetRequest{SystemPartitionsToWipe: []*machine.ResetPartitionSpec{{Label: "STATE", Wipe: true}}}); err != nil {
		t.Fatal(err)
	}

	<-calls
	p.reboot(inOrder)
	p.holds("a=written b=early")

	if p.configured() {
		t.Error("the configuration outlived STATE")
	}

	// In maintenance mode no etcd runs that could leave, and nobody waits for it.
	if err := p.reset(&machine.ResetRequest{Graceful: true, SystemPartitionsToWipe: []*machine.ResetPartitionSpec{{Label: "STATE", Wipe: true}}}); err != nil {
		t.Fatal(err)
	}

	if released, down := <-calls, <-calls; released != "release" || down != "reset" {
		t.Errorf("called %s and %s", released, down)
	}

	p.reboot(inOrder)
	p.holds("a=written b=early")

	p.mustWrite(0x0c, "old disk")
	p.install()
	p.holds("a=written b=early c=old disk")
}

// TestDamagedStateKeepsShut: a STATE whose filesystem is not known any more is not made anew, and configd does not say that the
// machine has no configuration.
func TestDamagedStateKeepsShut(t *testing.T) {
	blocktest.PrivateMounts(t)

	disk := blocktest.NewDisk(t, 5*gib)
	p := startPair(t, "talos.platform=metal", disk)

	p.install()

	p.await("STATE ready")

	made := strings.Count(p.Log(), "mkfs")

	p.reboot(inOrder, func() {
		f, err := os.OpenFile(disk.Path+"p5", os.O_WRONLY, 0)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()

		if _, err := f.WriteAt([]byte("damage"), 1024+0x36); err != nil { // over the magic number
			t.Fatal(err)
		}
	})

	p.await("STATE failed")

	_, err := safe.StateGetByID[*configres.MachineType](t.Context(), p.resources(), configres.MachineTypeID)
	if !state.IsNotFoundError(err) {
		t.Errorf("configd says what the machine is: %v", err)
	}

	if !strings.Contains(p.configd.Log(), "kept shut") || strings.Count(p.Log(), "mkfs") != made {
		t.Errorf("not told, or made anew:\n%s", p.configd.Log())
	}
}

// Whoever is killed meanwhile: what was acknowledged is kept, and nothing else than what was asked for.
func TestMetaWhileDaemonsDie(t *testing.T) {
	blocktest.PrivateMounts(t)

	rounds := 60
	if testing.Short() {
		rounds = 15
	}

	p := startPair(t, "talos.platform=metal", blocktest.NewDisk(t, 5*gib))
	p.install()

	kept, perhaps := map[uint8]string{}, map[uint8][]string{}

	for i := range rounds {
		key, value := uint8(i%8), fmt.Sprintf("%d-%s", i, strings.Repeat("x", rand.IntN(2000)))
		done := make(chan error, 1)

		go func() {
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()

			done <- p.write(ctx, key, value)
		}()

		time.Sleep(time.Duration(rand.IntN(12)) * time.Millisecond)

		victim := []*kittest.Daemon{p.Daemon, p.configd}[i%2]
		victim.Restart()

		switch err := <-done; {
		case err == nil:
			kept[key] = value
			delete(perhaps, key)
		case victim == p.Daemon:
			t.Errorf("round %d: a call did not wait for diskd: %v", i, err)
		default:
			perhaps[key] = append(perhaps[key], value)
		}
	}

	for what, values := range map[string]meta.Values{"published": p.published(), "on the disk": p.onDisk()} {
		for key, value := range kept {
			if got := string(values[key]); got != value && !slices.Contains(perhaps[key], got) {
				t.Errorf("%s: key %x is %.10q, want %.10q or one of %d", what, key, got, value, len(perhaps[key]))
			}
		}
	}

	if a, b := show(p.published()), show(p.onDisk()); a != b {
		t.Errorf("published %.100q, on the disk %.100q", a, b)
	}

	t.Logf("%d rounds, %d keys kept, %d uncertain", rounds, len(kept), len(perhaps))
}

// A seed that is plugged in later is found, read and let go of.
func TestSeedOfConfigd(t *testing.T) {
	blocktest.PrivateMounts(t)

	system, seed := blocktest.NewDisk(t, 5*gib), blocktest.NewDisk(t, 8<<20)
	p := startPair(t, "talos.platform=nocloud", system, seed)

	if p.configured() {
		t.Fatal("configured by nobody")
	}

	dir := t.TempDir()
	if err := errors.Join(os.WriteFile(filepath.Join(dir, "user-data"), p.config(), 0o644),
		os.WriteFile(filepath.Join(dir, "meta-data"), []byte("instance-id: i-9\nlocal-hostname: seeded\n"), 0o644)); err != nil {
		t.Fatal(err)
	}

	blocktest.Run(t, "mkfs.ext4", "-q", "-L", "CIDATA", "-d", dir, seed.Path)
	kittest.Await(t, patience, "the configuration is taken", p.configured)
	p.await("STATE ready", "META ready")

	platform, err := safe.StateGetByID[*runtime.PlatformMetadata](t.Context(), p.resources(), runtime.PlatformMetadataID)
	if err != nil || platform.TypedSpec().Hostname != "seeded" || platform.TypedSpec().InstanceID != "i-9" {
		t.Errorf("platform %+v, %v", platform, err)
	}

	for _, target := range mountsBelow(p.Root) {
		if strings.Contains(target, "volumes") {
			t.Errorf("still mounted: %s", target)
		}
	}
}
