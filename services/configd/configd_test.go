package configd_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/cosi-project/runtime/api/v1alpha1"
	"github.com/cosi-project/runtime/pkg/resource"
	cosimeta "github.com/cosi-project/runtime/pkg/resource/meta"
	"github.com/cosi-project/runtime/pkg/state"
	"github.com/cosi-project/runtime/pkg/state/protobuf/client"

	"github.com/dactyl-os/dactyl/proto/config"
	"github.com/dactyl-os/dactyl/proto/config/generate"
	"github.com/dactyl-os/dactyl/proto/machine"
	types "github.com/dactyl-os/dactyl/proto/resource"
	configres "github.com/dactyl-os/dactyl/proto/resource/config"
	"github.com/dactyl-os/dactyl/proto/resource/runtime"
	"github.com/dactyl-os/dactyl/services/kit/kittest"
)

// hostConfig makes a valid worker configuration with a hostname and, if more is not empty, more of machine.
func hostConfig(t testing.TB, hostname, more string) []byte {
	t.Helper()

	once.Do(func() {
		out, err := generate.Config(generate.Input{ClusterName: "t", Endpoint: "https://10.5.0.2:6443"})
		if err != nil {
			panic(err)
		}

		worker, controlPlane = string(out.Worker), string(out.ControlPlane)
	})

	text := strings.Replace(worker, "    network: {}\n", "    network:\n        hostname: "+hostname+"\n"+more, 1)

	return []byte(text)
}

var (
	once                 sync.Once
	worker, controlPlane string
)

type node struct {
	*kittest.Daemon

	t testing.TB
}

func start(t testing.TB, opts kittest.Options) node {
	t.Helper()

	if err := types.Register(); err != nil {
		t.Fatal(err)
	}

	return node{kittest.Start(t, "./cmd/configd", opts), t}
}

func (n node) methods() machine.MachineServiceClient {
	return machine.NewMachineServiceClient(n.Conn())
}

func (n node) state() state.State {
	return state.WrapCore(client.NewAdapter(v1alpha1.NewStateClient(n.Conn())))
}

func (n node) apply(data []byte, mode machine.ApplyConfigurationRequest_Mode, change ...func(*machine.ApplyConfigurationRequest)) (*machine.ApplyConfiguration, error) {
	n.t.Helper()

	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()

	req := &machine.ApplyConfigurationRequest{Data: data, Mode: mode}
	for _, c := range change {
		c(req)
	}

	resp, err := n.methods().ApplyConfiguration(ctx, req)
	if err != nil {
		return nil, err
	}

	return resp.GetMessages()[0], nil
}

func (n node) mustApply(data []byte, mode machine.ApplyConfigurationRequest_Mode, change ...func(*machine.ApplyConfigurationRequest)) *machine.ApplyConfiguration {
	n.t.Helper()

	answer, err := n.apply(data, mode, change...)
	if err != nil {
		n.t.Fatal(err)
	}

	return answer
}

func tryFor(d time.Duration) func(*machine.ApplyConfigurationRequest) {
	return func(req *machine.ApplyConfigurationRequest) { req.TryModeTimeout = durationpb.New(d) }
}

func dryRun(req *machine.ApplyConfigurationRequest) { req.DryRun = true }

// active returns the published configuration, "" in maintenance.
func (n node) active() string {
	n.t.Helper()

	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()

	r, err := n.state().Get(ctx, configres.NewMachineConfig(configres.NamespaceName, configres.ActiveID).Metadata())
	if state.IsNotFoundError(err) {
		return ""
	}

	if err != nil {
		n.t.Fatal(err)
	}

	return string(r.(*configres.MachineConfig).TypedSpec().Data)
}

func (n node) file(name string) string {
	n.t.Helper()

	data, err := os.ReadFile(filepath.Join(n.StateDir, name))
	if err != nil && !os.IsNotExist(err) {
		n.t.Fatal(err)
	}

	return string(data)
}

// boot kills the daemon and starts it in another boot of the node.
func (n node) boot(id string) {
	n.t.Helper()
	n.Kill()
	n.setBoot(id)
	n.Launch()
	n.AwaitServing()
}

func (n node) setBoot(id string) {
	n.t.Helper()

	dir := filepath.Join(n.Root, "proc/sys/kernel/random")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		n.t.Fatal(err)
	}

	if err := os.WriteFile(filepath.Join(dir, "boot_id"), []byte(id+"\n"), 0o644); err != nil {
		n.t.Fatal(err)
	}
}

const (
	auto     = machine.ApplyConfigurationRequest_AUTO
	noReboot = machine.ApplyConfigurationRequest_NO_REBOOT
	reboot   = machine.ApplyConfigurationRequest_REBOOT
	staged   = machine.ApplyConfigurationRequest_STAGED
	try      = machine.ApplyConfigurationRequest_TRY
)

func TestMaintenanceThenConfigured(t *testing.T) {
	n := start(t, kittest.Options{})

	if got := n.active(); got != "" {
		t.Fatalf("a configuration from nowhere: %s", got)
	}

	first := hostConfig(t, "one", "")

	if _, err := n.apply(first, try); status.Code(err) != codes.FailedPrecondition {
		t.Errorf("try in maintenance: %v", err)
	}

	if answer := n.mustApply(first, auto); answer.GetMode() != noReboot {
		t.Errorf("mode %s", answer.GetMode())
	}

	if n.active() != string(first) || n.file("config.yaml") != string(first) {
		t.Error("the bytes applied are not the bytes published and kept")
	}

	typ, err := n.state().Get(context.Background(), configres.NewMachineType(configres.NamespaceName, configres.MachineTypeID).Metadata())
	if err != nil || typ.(*configres.MachineType).TypedSpec().Value.String() != "worker" {
		t.Errorf("machine type %v, error %v", typ, err)
	}

	n.Restart()

	if n.active() != string(first) {
		t.Error("the configuration is another one after a restart")
	}
}

// After a kill at any moment of an apply the stored file is the old or the new configuration, and configd starts with it.
func TestKillDuringApply(t *testing.T) {
	rounds := 200
	if testing.Short() {
		rounds = 20
	}

	n := start(t, kittest.Options{})
	n.mustApply(hostConfig(t, "start", ""), auto)

	taken, fullTime := 0, 30*time.Millisecond

	for i := range rounds {
		before := n.file("config.yaml")
		// Sizes differ much, so that a torn file cannot look like a whole one.
		next := hostConfig(t, fmt.Sprintf("node-%d", i), strings.Repeat("        # padding\n", rand.IntN(5000)))

		done := make(chan error, 1)
		started := time.Now()

		go func() {
			ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
			defer cancel()

			_, err := n.methods().ApplyConfiguration(ctx, &machine.ApplyConfigurationRequest{Data: next, Mode: noReboot}, grpc.WaitForReady(false))
			done <- err
		}()

		// Somewhere within what an apply takes, now and then after it.
		select {
		case <-time.After(time.Duration(rand.Int64N(int64(fullTime)))):
		case <-done: //nolint:errcheck // the file is asked below
			fullTime = max(5*time.Millisecond, time.Since(started)*5/4)
			done <- nil
		}

		n.Kill()
		<-done //nolint:errcheck // the file is asked below

		after := n.file("config.yaml")

		if after != before && after != string(next) {
			t.Fatalf("round %d: the file is neither the old nor the new one (%d bytes; old %d, new %d)", i, len(after), len(before), len(next))
		}

		n.Launch()
		n.AwaitServing()

		// The copy is written first, so the new one may count before the file has it; the file has it then.
		got := n.active()
		if got != n.file("config.yaml") || (got != after && got != string(next)) {
			t.Fatalf("round %d: configd starts with another configuration than the file's", i)
		}

		if got == string(next) {
			taken++
		}
	}

	if leftovers, _ := filepath.Glob(filepath.Join(n.StateDir, ".*")); len(leftovers) > 0 {
		t.Errorf("left behind: %v", leftovers)
	}

	t.Logf("%d rounds: %d times the new configuration, %d times the old one", rounds, taken, rounds-taken)
}

func TestTryReverts(t *testing.T) {
	for name, interrupt := range map[string]func(node){
		"undisturbed":     func(node) {},
		"configd killed":  func(n node) { n.Restart() },
		"node restarted":  func(n node) { n.boot("another boot") },
		"down at the end": func(n node) { n.Kill(); time.Sleep(3 * time.Second); n.Launch(); n.AwaitServing() },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()

			n := start(t, kittest.Options{})
			old, tried := hostConfig(t, "old", ""), hostConfig(t, "tried", "")
			n.mustApply(old, auto)

			began := time.Now()
			answer := n.mustApply(tried, try, tryFor(3*time.Second))

			if answer.GetMode() != try || n.active() != string(tried) || n.file("config.yaml") != string(old) {
				t.Fatalf("the try is not in force, or is kept already: %s", answer.GetModeDetails())
			}

			interrupt(n)

			if time.Since(began) < 2500*time.Millisecond && n.active() != string(tried) {
				t.Error("taken back before its time")
			}

			kittest.Await(t, 10*time.Second, "the old configuration", func() bool { return n.active() == string(old) })

			if n.file("config.try.json") != "" || n.file("config.yaml") != string(old) {
				t.Error("the try is still on disk")
			}

			n.Restart()

			if n.active() != string(old) {
				t.Error("it is back after a restart")
			}
		})
	}
}

func TestTryIsConfirmed(t *testing.T) {
	n := start(t, kittest.Options{})
	tried := hostConfig(t, "tried", "")
	n.mustApply(hostConfig(t, "old", ""), auto)
	n.mustApply(tried, try, tryFor(1500*time.Millisecond))
	n.mustApply(tried, noReboot)

	if n.file("config.yaml") != string(tried) || n.file("config.try.json") != "" {
		t.Error("the confirmed configuration is not the one kept")
	}

	// What must not happen happens at the deadline, so the test has to see it pass.
	time.Sleep(2 * time.Second)

	if n.active() != string(tried) {
		t.Error("taken back though it was confirmed")
	}
}

func TestStaged(t *testing.T) {
	n := start(t, kittest.Options{})
	n.boot("first")

	old, next := hostConfig(t, "old", ""), hostConfig(t, "next", "")
	n.mustApply(old, auto)

	if answer := n.mustApply(next, staged); answer.GetMode() != staged {
		t.Errorf("mode %s", answer.GetMode())
	}

	n.Restart()

	if n.active() != string(old) || n.file("config.yaml") != string(old) {
		t.Fatal("in force before the boot")
	}

	n.boot("second")

	if n.active() != string(next) || n.file("config.yaml") != string(next) || n.file("config.staged.json") != "" {
		t.Error("not in force after the boot")
	}

	// A later apply makes what was staged before it stale.
	n.mustApply(old, staged)
	n.mustApply(hostConfig(t, "latest", ""), auto)
	n.boot("third")

	if !strings.Contains(n.active(), "hostname: latest") {
		t.Error("an older staged configuration came into force")
	}
}

func TestDryRun(t *testing.T) {
	n := start(t, kittest.Options{})
	n.mustApply(hostConfig(t, "old", ""), auto)

	before := snapshot(t, n)
	answer := n.mustApply(hostConfig(t, "new", "        nameservers: [1.1.1.1]\n"), auto, dryRun)

	for _, want := range []string{"without a reboot (skipped in dry-run)", "Daemons that act on it: discoveryd, networkd, trustd\n", "-        hostname: old\n", "+        hostname: new\n"} {
		if !strings.Contains(answer.GetModeDetails(), want) {
			t.Errorf("no %q in\n%s", want, answer.GetModeDetails())
		}
	}

	secrets, err := config.Load(hostConfig(t, "old", ""))
	if err != nil {
		t.Fatal(err)
	}

	if strings.Contains(answer.GetModeDetails(), secrets.Machine().Token) {
		t.Error("a secret is shown")
	}

	if after := snapshot(t, n); after != before {
		t.Error("a dry run changed something")
	}
}

// snapshot is everything that an apply may change.
func snapshot(t *testing.T, n node) string {
	t.Helper()

	r, err := n.state().Get(context.Background(), configres.NewMachineConfig(configres.NamespaceName, configres.ActiveID).Metadata())
	if err != nil {
		t.Fatal(err)
	}

	text := r.Metadata().Version().String()

	entries, err := os.ReadDir(n.StateDir)
	if err != nil {
		t.Fatal(err)
	}

	for _, entry := range entries {
		text += "\n" + entry.Name() + ":" + n.file(entry.Name())
	}

	return text
}

func TestBadInputChangesNothing(t *testing.T) {
	n := start(t, kittest.Options{})
	good := string(hostConfig(t, "good", ""))
	n.mustApply([]byte(good), auto)

	before := snapshot(t, n)

	for name, c := range map[string]struct{ data, want string }{
		"unknown field": {strings.Replace(good, "hostname:", "hostnam:", 1), `line 15: machine.network.hostnam: unknown field (hint: did you mean "hostname"?)`},
		"wrong type":    {strings.Replace(good, "wipe: false", "wipe: soon", 1), `machine.install.wipe: expected true or false, found "soon"`},
		"two documents": {good + "---\n" + good, "a second v1alpha1 document"},
		"bad CIDR":      {strings.Replace(good, "hostname: good", "interfaces: [{interface: eth0, addresses: [1.2.3.4/40]}]", 1), "machine.network.interfaces[0].addresses[0]"},
		"no token":      {strings.Replace(good, "    token: ", "    # token: ", 1), "machine.token: missing"},
		"not YAML":      {"\tx", "not YAML"},
		"nothing":       {"", "empty"},
		"nesting":       {strings.Repeat("[", 1<<20), "nested"},
		"patch only":    {"kind: WatchdogTimerConfig\napiVersion: v1alpha1\ndevice: /dev/watchdog0\n", "no v1alpha1 document"},
	} {
		for _, mode := range []machine.ApplyConfigurationRequest_Mode{auto, noReboot, reboot, staged, try} {
			_, err := n.apply([]byte(c.data), mode)
			if status.Code(err) != codes.InvalidArgument || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%s, mode %s: %v, want %q", name, mode, err, c.want)
			}
		}
	}

	if _, err := n.apply([]byte(good), 99); status.Code(err) != codes.InvalidArgument {
		t.Errorf("mode 99: %v", err)
	}

	withFiles := strings.Replace(good, "    network:\n", "    files: [{path: /var/a, content: b}]\n    network:\n", 1)
	for _, mode := range []machine.ApplyConfigurationRequest_Mode{noReboot, try} {
		if _, err := n.apply([]byte(withFiles), mode); err == nil || !strings.Contains(err.Error(), "changes that need a reboot: machine.files") {
			t.Errorf("mode %s: %v", mode, err)
		}
	}

	if after := snapshot(t, n); after != before {
		t.Error("bad input changed something")
	}
}

// fakeInit counts reboots.
type fakeInit struct {
	machine.UnimplementedMachineServiceServer

	mu      sync.Mutex
	reboots int
	refuse  bool
}

func (f *fakeInit) Reboot(context.Context, *machine.RebootRequest) (*machine.RebootResponse, error) {
	f.mu.Lock()
	defer f.mu.Unlock()

	if f.refuse {
		return nil, status.Error(codes.FailedPrecondition, "not now")
	}

	f.reboots++

	return &machine.RebootResponse{}, nil
}

func TestReboot(t *testing.T) {
	n := start(t, kittest.Options{})
	n.boot("first")

	listener, err := net.Listen("unix", n.RunDir+"/init.sock")
	if err != nil {
		t.Fatal(err)
	}

	server, fake := grpc.NewServer(), &fakeInit{refuse: true}
	machine.RegisterMachineServiceServer(server, fake)

	go server.Serve(listener) //nolint:errcheck // ends with the test

	t.Cleanup(server.Stop)

	old := hostConfig(t, "old", "")
	next := []byte(strings.Replace(string(old), "    network:\n", "    files: [{path: /var/a, content: b}]\n    network:\n", 1))
	n.mustApply(old, auto)

	if _, err := n.apply(next, auto); err == nil || !strings.Contains(err.Error(), "not now") || n.file("config.staged.json") != "" {
		t.Errorf("init refuses: %v", err)
	}

	fake.mu.Lock()
	fake.refuse = false
	fake.mu.Unlock()

	answer := n.mustApply(next, auto)
	if answer.GetMode() != reboot || !strings.Contains(answer.GetModeDetails(), "only a boot takes up machine.files") || fake.reboots != 1 {
		t.Errorf("mode %s, %d reboots: %s", answer.GetMode(), fake.reboots, answer.GetModeDetails())
	}

	n.boot("second")

	if n.active() != string(next) {
		t.Error("not in force after the boot")
	}

	n.mustApply(next, reboot)

	if fake.reboots != 2 {
		t.Errorf("%d reboots", fake.reboots)
	}
}

func TestMeta(t *testing.T) {
	n := start(t, kittest.Options{})
	ctx := context.Background()

	list := func() string {
		keys, err := n.state().List(ctx, runtime.NewMetaKey(runtime.NamespaceName, "").Metadata())
		if err != nil {
			t.Fatal(err)
		}

		var text []string
		for _, r := range keys.Items {
			text = append(text, r.Metadata().ID()+"="+r.(*runtime.MetaKey).TypedSpec().Value)
		}

		return strings.Join(text, " ")
	}

	for key, value := range map[uint32]string{0x0a: "a: b", 0x0f: "token"} {
		if _, err := n.methods().MetaWrite(ctx, &machine.MetaWriteRequest{Key: key, Value: []byte(value)}); err != nil {
			t.Fatal(err)
		}
	}

	for range 2 {
		if got := list(); got != "0x0a=a: b 0x0f=token" {
			t.Errorf("keys %q", got)
		}

		n.Restart()
	}

	token, err := n.state().Get(ctx, runtime.NewUniqueMachineToken(runtime.NamespaceName, runtime.UniqueMachineTokenID).Metadata())
	if err != nil || token.(*runtime.UniqueMachineToken).TypedSpec().Token != "token" {
		t.Errorf("token %v, error %v", token, err)
	}

	if _, err := n.methods().MetaDelete(ctx, &machine.MetaDeleteRequest{Key: 0x0a}); err != nil {
		t.Error(err)
	}

	if got := list(); got != "0x0f=token" {
		t.Errorf("keys %q", got)
	}

	if _, err := n.methods().MetaDelete(ctx, &machine.MetaDeleteRequest{Key: 0x0a}); status.Code(err) != codes.NotFound {
		t.Errorf("delete again: %v", err)
	}

	if _, err := n.methods().MetaWrite(ctx, &machine.MetaWriteRequest{Key: 0x100}); status.Code(err) != codes.InvalidArgument {
		t.Errorf("key 0x100: %v", err)
	}

	if _, err := n.methods().MetaWrite(ctx, &machine.MetaWriteRequest{Key: 1, Value: bytes.Repeat([]byte("x"), 300<<10)}); status.Code(err) != codes.ResourceExhausted {
		t.Errorf("300 KiB: %v", err)
	}
}

func TestDamagedMetaIsKept(t *testing.T) {
	n := start(t, kittest.Options{})
	n.Kill()

	if err := os.WriteFile(filepath.Join(n.StateDir, "meta"), []byte("damage"), 0o600); err != nil {
		t.Fatal(err)
	}

	n.Launch()
	n.AwaitServing()

	if n.file("meta.damaged") != "damage" {
		t.Error("the damaged bytes are gone")
	}
}

// A daemon that is no reader sees the configuration without secrets, and it loads.
func TestRedactedForOthers(t *testing.T) {
	n := start(t, kittest.Options{})
	data := hostConfig(t, "a", "")
	n.mustApply(data, auto)

	for name, redacted := range map[string]bool{"hostd": true, "trustd": false} {
		st := state.WrapCore(client.NewAdapter(v1alpha1.NewStateClient(n.ConnAs(t, name))))

		r, err := st.Get(context.Background(), configres.NewMachineConfig(configres.NamespaceName, configres.ActiveID).Metadata())
		if err != nil {
			t.Fatal(err)
		}

		seen, err := config.Load(r.(*configres.MachineConfig).TypedSpec().Data)
		if err != nil {
			t.Fatalf("%s cannot load what it sees: %v", name, err)
		}

		if got := seen.Machine().Token == config.Mask; got != redacted || seen.Network().Hostname != "a" {
			t.Errorf("%s: redacted %v", name, got)
		}
	}
}

func TestTypesArePublished(t *testing.T) {
	n := start(t, kittest.Options{})

	definitions, err := n.state().List(context.Background(), resource.NewMetadata(cosimeta.NamespaceName, cosimeta.ResourceDefinitionType, "", resource.VersionUndefined))
	if err != nil {
		t.Fatal(err)
	}

	namespaces, err := n.state().List(context.Background(), resource.NewMetadata(cosimeta.NamespaceName, cosimeta.NamespaceType, "", resource.VersionUndefined))
	if err != nil {
		t.Fatal(err)
	}

	if len(definitions.Items) != len(types.Definitions()) || len(namespaces.Items) < 8 {
		t.Errorf("%d definitions of %d, %d namespaces", len(definitions.Items), len(types.Definitions()), len(namespaces.Items))
	}
}

func TestGenerateConfiguration(t *testing.T) {
	n := start(t, kittest.Options{})
	hostConfig(t, "x", "")
	n.mustApply([]byte(controlPlane), auto)

	resp, err := n.methods().GenerateConfiguration(context.Background(), &machine.GenerateConfigurationRequest{
		ConfigVersion: "v1alpha1",
		ClusterConfig: &machine.ClusterConfig{Name: "t", ControlPlane: &machine.ControlPlaneConfig{Endpoint: "https://10.5.0.2:6443"}},
		MachineConfig: &machine.MachineConfig{
			Type:          machine.MachineConfig_TYPE_WORKER,
			NetworkConfig: &machine.NetworkConfig{Hostname: "made", Interfaces: []*machine.NetworkDeviceConfig{{Interface: "eth0", Cidr: "10.5.0.9/24"}}},
		},
	})
	if err != nil {
		t.Fatal(err)
	}

	made, err := config.Load(resp.GetMessages()[0].GetData()[0])
	if err != nil {
		t.Fatal(err)
	}

	own, err := config.Load([]byte(controlPlane))
	if err != nil {
		t.Fatal(err)
	}

	if made.Machine().Token != own.Machine().Token || made.Network().Hostname != "made" || made.Network().Interfaces[0].Addresses[0] != "10.5.0.9/24" {
		t.Errorf("made:\n%s", made.Bytes())
	}

	if _, err := made.Validate(config.Metal, config.New); err != nil {
		t.Error(err)
	}
}

func TestTakesUserdata(t *testing.T) {
	data := hostConfig(t, "from-userdata", "")
	n := start(t, kittest.Options{Env: []string{"USERDATA=" + base64.StdEncoding.EncodeToString(data)}})

	if n.active() != string(data) || n.file("config.yaml") != string(data) {
		t.Error("the configuration is not that of the environment")
	}
}
