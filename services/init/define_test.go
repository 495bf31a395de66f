package initd_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	initv1 "github.com/dactyl-os/dactyl/proto/local/dactyl/init/v1"
	"github.com/dactyl-os/dactyl/proto/machine"
	"github.com/dactyl-os/dactyl/services/kit/daemon"
	"github.com/dactyl-os/dactyl/services/kit/kittest"
)

// program is no daemon of ours: a web server that knows nothing of init. Files in its directory tell it what to do.
func program(dir string) int {
	here := func(name string) bool { _, err := os.Stat(filepath.Join(dir, name)); return err == nil }

	if here("crash") {
		fmt.Println("no clay left")

		return 3
	}

	child := exec.Command("/bin/sleep", "600")
	if err := errors.Join(child.Start(), os.WriteFile(filepath.Join(dir, "child"), []byte(strconv.Itoa(child.Process.Pid)), 0o600)); err != nil {
		fmt.Println(err)

		return 1
	}

	fmt.Println("program runs")

	err := http.ListenAndServe(os.Getenv("PROGRAM_ADDRESS"), http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { //nolint:gosec // a test
		if !here("well") {
			http.Error(w, "not well", http.StatusServiceUnavailable)
		}
	}))
	fmt.Println(err)

	return 1
}

// definer is a daemon that defines what it is asked to.
type definer struct {
	initv1.UnimplementedInitServiceServer
	env *daemon.Env
}

func (d *definer) init() (initv1.InitServiceClient, error) {
	conn, err := d.env.Dial("init")

	return initv1.NewInitServiceClient(conn), err
}

func (d *definer) Define(ctx context.Context, in *initv1.DefineRequest) (*initv1.DefineResponse, error) {
	client, err := d.init()
	if err != nil {
		return nil, err
	}

	return client.Define(ctx, in)
}

func (d *definer) Forget(ctx context.Context, in *initv1.ForgetRequest) (*initv1.ForgetResponse, error) {
	client, err := d.init()
	if err != nil {
		return nil, err
	}

	return client.Forget(ctx, in)
}

func (m *machineUnderTest) definer(name string) initv1.InitServiceClient {
	return initv1.NewInitServiceClient(m.dial(name))
}

// has makes or removes a file of the program's.
func (m *machineUnderTest) has(name string, there bool) {
	m.t.Helper()

	path := filepath.Join(m.root, name)

	err := os.Remove(path)
	if errors.Is(err, os.ErrNotExist) {
		err = nil
	}

	if there {
		err = os.WriteFile(path, nil, 0o600)
	}

	if err != nil {
		m.t.Fatal(err)
	}
}

func (m *machineUnderTest) kill(name string) {
	m.t.Helper()

	old := m.hostPID(name)
	if err := syscall.Kill(old, syscall.SIGKILL); err != nil {
		m.t.Fatal(err)
	}

	kittest.Await(m.t, 10*time.Second, name+" is back", func() bool { return m.hostPID(name) != old })
}

func (m *machineUnderTest) awaitMessage(id, want string) {
	m.t.Helper()
	kittest.AwaitNoError(m.t, 30*time.Second, func() error {
		if said := messages(m.service(id)); !strings.Contains(said, want) {
			return fmt.Errorf("%s lacks %q:\n%s", id, want, said)
		}

		return nil
	})
}

func freeAddress(t *testing.T) string {
	t.Helper()

	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()

	return l.Addr().String()
}

// unit is the program as extd would define it.
func (m *machineUnderTest) unit() *initv1.Unit {
	address := freeAddress(m.t)

	return &initv1.Unit{
		Name: "ext-web", Command: []string{filepath.Join(m.root, "daemon"), "--run-dir", filepath.Join(m.root, "run")}, Socket: "none", Kill: "process",
		Ready: &initv1.Probe{Http: "http://" + address + "/healthz"}, Conditions: []string{"path:/gate", "service:extd"},
		Env: map[string]string{"DACTYL_FAKE": "program", "DACTYL_NAME": "ext-web", "PROGRAM_ADDRESS": address, "PROGRAM_DIR": m.root},
	}
}

func define(t *testing.T, by initv1.InitServiceClient, unit *initv1.Unit, want initv1.DefineResponse_Outcome) {
	t.Helper()

	got, err := by.Define(t.Context(), &initv1.DefineRequest{Unit: unit})
	if err != nil || got.GetOutcome() != want {
		t.Fatalf("define: %v, %v, want %s", got, err, want)
	}
}

// TestAUnitThatIsNoDaemonOfOurs goes through a unit's life; whoever defined it is killed at every step.
func TestAUnitThatIsNoDaemonOfOurs(t *testing.T) {
	m := newMachine(t)
	m.fake("extd", "define", "defines: [\"ext-*\"]\n")
	m.boot()
	m.await("extd", "Running")

	extd, unit := m.definer("extd"), m.unit()

	define(t, extd, unit, initv1.DefineResponse_ADDED)
	m.awaitMessage("ext-web", `Waiting: Waiting for path "/gate" to exist`)
	m.kill("extd")
	define(t, extd, unit, initv1.DefineResponse_UNCHANGED)

	// It runs, and is not up before it says so.
	m.has("gate", true)
	m.await("ext-web", "Starting")
	m.kill("extd")
	m.has("well", true)
	m.await("ext-web", "Running")

	pid := m.hostPID("ext-web")

	m.has("well", false)
	m.awaitMessage("ext-web", "Health check failed: not healthy: 503")
	m.kill("extd")
	m.has("well", true)
	kittest.Await(t, 20*time.Second, "health is back", func() bool { return m.service("ext-web").GetHealth().GetHealthy() })
	define(t, extd, unit, initv1.DefineResponse_UNCHANGED)

	// Another stop timeout is no reason to restart, another environment is: and what the program started lives on.
	child := m.child()
	unit.Stop = "1s"
	define(t, extd, unit, initv1.DefineResponse_CHANGED)

	if now := m.hostPID("ext-web"); now != pid {
		t.Errorf("PID %d became %d", pid, now)
	}

	unit.Env["MORE"] = "1"
	define(t, extd, unit, initv1.DefineResponse_RESTARTED)
	m.kill("extd")
	kittest.Await(t, 10*time.Second, "a new process", func() bool { return m.hostPID("ext-web") != pid })
	m.await("ext-web", "Running")

	if again := m.child(); again == child || syscall.Kill(child, 0) != nil {
		t.Errorf("the child %d did not outlive the program; now there is %d", child, again)
	}

	m.crashLoop()
	m.forgotten(extd)
}

// child finds from outside what the program has started: /proc tells the PIDs of all namespaces.
func (m *machineUnderTest) child() int {
	m.t.Helper()

	pid := 0

	kittest.Await(m.t, 10*time.Second, "a child", func() bool {
		children := childrenOf(m.hostPID("ext-web"))
		if len(children) > 0 {
			pid = children[0]
		}

		return len(children) > 0
	})

	return pid
}

// crashLoop lets the program crash until it is given up, and brings it back.
func (m *machineUnderTest) crashLoop() {
	m.t.Helper()
	m.has("crash", true)

	if _, err := m.ServiceRestart(m.t.Context(), &machine.ServiceRestartRequest{Id: "ext-web"}); err != nil {
		m.t.Fatal(err)
	}

	m.awaitMessage("ext-web", "Parked after 5 crashes")
	m.awaitMessage("ext-web", "its last log lines: no clay left")
	m.kill("extd")
	m.has("crash", false)

	if _, err := m.ServiceStart(m.t.Context(), &machine.ServiceStartRequest{Id: "ext-web"}); err != nil {
		m.t.Fatal(err)
	}

	m.await("ext-web", "Running")
}

// forgotten has the unit removed with its log.
func (m *machineUnderTest) forgotten(extd initv1.InitServiceClient) {
	m.t.Helper()

	logs, err := m.Logs(m.t.Context(), &machine.LogsRequest{Id: "ext-web", TailLines: -1})
	if err != nil {
		m.t.Fatal(err)
	}

	if data, err := logs.Recv(); err != nil || !strings.Contains(string(data.GetBytes()), "program runs") {
		m.t.Errorf("log: %s, %v", data.GetBytes(), err)
	}

	if _, err := extd.Forget(m.t.Context(), &initv1.ForgetRequest{Name: "ext-web"}); err != nil {
		m.t.Fatal(err)
	}

	kittest.AwaitNoError(m.t, 20*time.Second, func() error {
		logs, err := m.Logs(m.t.Context(), &machine.LogsRequest{Id: "ext-web"})
		if err == nil {
			_, err = logs.Recv()
		}

		if status.Code(err) != codes.NotFound {
			return fmt.Errorf("its log is still there: %w", errors.Join(err, io.EOF))
		}

		return nil
	})

	if _, err := extd.Forget(m.t.Context(), &initv1.ForgetRequest{Name: "ext-web"}); status.Code(err) != codes.NotFound {
		m.t.Errorf("forgotten twice: %v", err)
	}
}

func TestWhoMayDefine(t *testing.T) {
	m := newMachine(t)
	m.fake("extd", "define", "defines: [\"ext-*\"]\n")
	m.fake("podd", "define", "")
	m.fake("timed", "define", "defines: [\"ext-*\"]\n")
	m.boot()

	for _, name := range []string{"extd", "podd", "timed"} {
		m.await(name, "Running")
	}

	named := func(name string, change func(*initv1.Unit)) *initv1.Unit {
		unit := proto.CloneOf(m.unit())
		unit.Name = name
		change(unit)

		return unit
	}
	nothing := func(*initv1.Unit) {}

	for name, tc := range map[string]struct {
		by   string
		unit *initv1.Unit
		code codes.Code
		say  string
	}{
		"no caller of the method":  {"timed", named("ext-a", nothing), codes.PermissionDenied, "its callers inside the node are extd, podd"},
		"nothing in its manifest":  {"podd", named("ext-a", nothing), codes.PermissionDenied, `"podd" and the unit "ext-a"`},
		"root's own tool":          {"init", named("ext-a", nothing), codes.PermissionDenied, `"root" and the unit "ext-a"`},
		"another name":             {"extd", named("kubelet", nothing), codes.PermissionDenied, `"kubelet"`},
		"a name of the image":      {"extd", named("timed", nothing), codes.PermissionDenied, `"timed"`},
		"an alias that is not its": {"extd", named("ext-a", func(u *initv1.Unit) { u.Aliases = []string{"apid"} }), codes.PermissionDenied, `"apid"`},
		"no unit":                  {"extd", nil, codes.InvalidArgument, "unit: is missing"},
		"a wrong value":            {"extd", named("ext-a", func(u *initv1.Unit) { u.Memory = "much" }), codes.InvalidArgument, `unit.memory: "much" is not a size`},
		"a wrong condition":        {"extd", named("ext-a", func(u *initv1.Unit) { u.Conditions = []string{"rain"} }), codes.InvalidArgument, `unit.conditions: "rain" is none of`},
		"a probe of another node": {"extd", named("ext-a", func(u *initv1.Unit) { u.Health = &initv1.Probe{Http: "http://10.0.0.1:1/"} }), codes.InvalidArgument,
			`unit.health: http: "http://10.0.0.1:1/"`},
		"a field of tomorrow": {"extd", named("ext-a", func(u *initv1.Unit) {
			u.GetReady().ProtoReflect().SetUnknown(protowire.AppendVarint(protowire.AppendTag(nil, 99, protowire.VarintType), 1))
		}), codes.InvalidArgument, "ready: field 99 is not known to this init"},
	} {
		_, err := m.definer(tc.by).Define(t.Context(), &initv1.DefineRequest{Unit: tc.unit})
		if status.Code(err) != tc.code || !strings.Contains(status.Convert(err).Message(), tc.say) {
			t.Errorf("%s: %v, want %s: %s", name, err, tc.code, tc.say)
		}
	}
}
