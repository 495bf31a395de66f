package initd_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/emptypb"

	"github.com/dactyl-os/dactyl/proto/common"
	initv1 "github.com/dactyl-os/dactyl/proto/local/dactyl/init/v1"
	"github.com/dactyl-os/dactyl/proto/machine"
	initd "github.com/dactyl-os/dactyl/services/init"
	"github.com/dactyl-os/dactyl/services/kit/daemon"
	"github.com/dactyl-os/dactyl/services/kit/dial"
	"github.com/dactyl-os/dactyl/services/kit/kittest"
)

// TestMain lets the test binary play init and the daemons that init starts.
func TestMain(m *testing.M) {
	switch os.Getenv("DACTYL_FAKE") {
	case "init":
		os.Exit(initd.Main())
	case "serve":
		os.Exit(daemon.Main(os.Getenv("DACTYL_NAME"), serve))
	case "define":
		os.Exit(daemon.Main(os.Getenv("DACTYL_NAME"), func(env *daemon.Env) error {
			initv1.RegisterInitServiceServer(env.Server(), &definer{env: env})

			return nil
		}))
	case "keep":
		os.Exit(daemon.Main(os.Getenv("DACTYL_NAME"), keep))
	case "program":
		os.Exit(program(os.Getenv("PROGRAM_DIR")))
	case "probe":
		os.Exit(probe())
	case "orphans":
		// A child that leaves its parent, and ends when the test lets it.
		_, _ = os.StartProcess("/bin/cat", []string{"cat", os.Getenv("DACTYL_LEASH")}, &os.ProcAttr{
			Files: []*os.File{nil, os.Stdout, os.Stderr}, Sys: &syscall.SysProcAttr{Setsid: true},
		})
		os.Exit(0)
	case "crash":
		fmt.Println("about to go")
		fmt.Fprintln(os.Stderr, "panic: out of clay")
		os.Exit(2)
	}

	os.Exit(kittest.NoLeaks(m))
}

// serve greets on the daemon's tcp listener, if it was given one.
func serve(env *daemon.Env) error {
	env.Log.Info("fake serves")
	machine.RegisterMachineServiceServer(env.Server(), &fakeService{})

	l, given := env.Listener(os.Getenv("DACTYL_LISTENER"))
	if !given {
		return nil
	}

	env.Go("greet", func(ctx context.Context) error {
		context.AfterFunc(ctx, func() { _ = l.Close() })

		for {
			conn, err := l.Accept()
			if err != nil {
				return nil
			}

			_, _ = conn.Write([]byte("hello\n"))
			_ = conn.Close()
		}
	})

	return nil
}

type fakeService struct {
	machine.UnimplementedMachineServiceServer
}

func (*fakeService) Version(context.Context, *emptypb.Empty) (*machine.VersionResponse, error) {
	return &machine.VersionResponse{}, nil
}

// machineUnderTest is init in a PID namespace, with a directory for its root.
type machineUnderTest struct {
	machine.MachineServiceClient
	t    *testing.T
	cmd  *exec.Cmd
	root string
	exit chan error
}

// fake writes a manifest whose daemon is this test binary.
func (m *machineUnderTest) fake(name, mode, more string) {
	m.t.Helper()

	args := fmt.Sprintf("[%[1]s/daemon, --run-dir, %[1]s/run, --root, %[1]s, --state-dir, %[1]s/state]", m.root)
	env := fmt.Sprintf("env: {DACTYL_FAKE: %s, DACTYL_NAME: %s, DACTYL_LISTENER: \"tcp-%d\"}\n", mode, name, listenPort(m.t))

	if strings.Contains(more, "env:") {
		env = ""
	}

	text := fmt.Sprintf("name: %s\ncommand: %s\n%s%s", name, args, env, more)

	path := filepath.Join(m.root, "usr/share/dactyl/services", name+".yaml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		m.t.Fatal(err)
	}
}

func listenPort(t *testing.T) int { return 20000 + os.Getpid()%10000 + len(t.Name())%7 }

func newMachine(t *testing.T) *machineUnderTest {
	t.Helper()
	kittest.RequireRoot(t)

	// Socket paths are short, test names are not.
	root, err := os.MkdirTemp("", "init-")
	if err != nil {
		t.Fatal(err)
	}

	t.Cleanup(func() { _ = os.RemoveAll(root) })

	// Daemons without root have to pass.
	for _, dir := range []string{"", "usr/share/dactyl/services", "run", "state", "proc"} {
		if err := errors.Join(os.MkdirAll(filepath.Join(root, dir), 0o755), os.Chmod(filepath.Join(root, dir), 0o755)); err != nil {
			t.Fatal(err)
		}
	}

	// A daemon of another user cannot run the test binary where go test has put it.
	self, err := os.ReadFile("/proc/self/exe")
	if err := errors.Join(err, os.WriteFile(filepath.Join(root, "daemon"), self, 0o755)); err != nil { //nolint:gosec // to be run
		t.Fatal(err)
	}

	if err := os.WriteFile(filepath.Join(root, "proc/cmdline"), []byte("talos.platform=container\n"), 0o600); err != nil {
		t.Fatal(err)
	}

	return &machineUnderTest{t: t, root: root}
}

func (m *machineUnderTest) boot() {
	m.t.Helper()

	self, err := os.Executable()
	if err != nil {
		m.t.Fatal(err)
	}

	cmd := exec.Command(self, "--run-dir", filepath.Join(m.root, "run"), "--root", m.root, "--state-dir", filepath.Join(m.root, "state"))
	cmd.Env = append(os.Environ(), "DACTYL_FAKE=init")
	cmd.Stdout, cmd.Stderr = m.t.Output(), m.t.Output()
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWPID, Pdeathsig: syscall.SIGKILL}
	kittest.Into(m.t, cmd, "init")

	if err := cmd.Start(); err != nil {
		m.t.Fatal(err)
	}

	m.cmd, m.exit = cmd, make(chan error, 1)

	go func() { m.exit <- cmd.Wait() }()

	m.t.Cleanup(func() { _ = cmd.Process.Kill() })
	m.MachineServiceClient = machine.NewMachineServiceClient(m.dial("init"))
	kittest.AwaitNoError(m.t, 20*time.Second, func() error {
		_, err := m.Version(m.t.Context(), &emptypb.Empty{})

		return err
	})
}

func (m *machineUnderTest) dial(name string) *grpc.ClientConn {
	m.t.Helper()

	conn, err := dial.Socket(filepath.Join(m.root, "run", name+".sock"))
	if err != nil {
		m.t.Fatal(err)
	}

	m.t.Cleanup(func() { _ = conn.Close() })

	return conn
}

func (m *machineUnderTest) service(id string) *machine.ServiceInfo {
	m.t.Helper()

	list, err := m.ServiceList(m.t.Context(), &emptypb.Empty{})
	if err != nil {
		m.t.Fatal(err)
	}

	for _, s := range list.GetMessages()[0].GetServices() {
		if s.GetId() == id {
			return s
		}
	}

	m.t.Fatalf("no service %s", id)

	return nil
}

func (m *machineUnderTest) await(id, state string) *machine.ServiceInfo {
	m.t.Helper()

	var s *machine.ServiceInfo

	kittest.Await(m.t, 20*time.Second, id+" is "+state, func() bool {
		s = m.service(id)

		return s.GetState() == state
	})

	return s
}

// hostPID finds a daemon's process from outside its PID namespace by its environment.
func (m *machineUnderTest) hostPID(name string) int {
	m.t.Helper()

	found := 0

	kittest.Await(m.t, 10*time.Second, "process "+name, func() bool {
		paths, _ := filepath.Glob("/proc/[0-9]*/environ")
		for _, path := range paths {
			env, _ := os.ReadFile(path)
			cmdline, _ := os.ReadFile(filepath.Join(filepath.Dir(path), "cmdline"))

			if strings.Contains(string(env), "DACTYL_NAME="+name+"\x00") && strings.Contains(string(cmdline), m.root+"/run") {
				found, _ = strconv.Atoi(filepath.Base(filepath.Dir(path)))

				return true
			}
		}

		return false
	})

	return found
}

func messages(s *machine.ServiceInfo) string {
	var lines []string
	for _, e := range s.GetEvents().GetEvents() {
		lines = append(lines, e.GetState()+": "+e.GetMsg())
	}

	return strings.Join(lines, "\n")
}

// TestKillNineCostsNoCall kills a daemon again and again under load: callers wait in the socket that init holds.
func TestKillNineCostsNoCall(t *testing.T) {
	m := newMachine(t)
	m.fake("a", "serve", fmt.Sprintf("listen: [\"tcp-%d\"]\n", listenPort(t)))
	m.boot()
	m.await("a", "Running")

	var (
		calls, failed atomic.Int64
		load          sync.WaitGroup
	)

	ctx, stop := context.WithCancel(t.Context())
	bounded, cancel := context.WithTimeout(t.Context(), time.Minute) // of the last calls, should nobody answer any more
	client := machine.NewMachineServiceClient(m.dial("a"))

	defer cancel()

	for range 4 {
		load.Go(func() {
			for ctx.Err() == nil {
				if _, err := client.Version(bounded, &emptypb.Empty{}); err != nil {
					t.Error(err)
					failed.Add(1)
				}

				calls.Add(1)
			}
		})
	}

	var slowest time.Duration

	for range 10 {
		old := m.hostPID("a")
		start := time.Now()

		if err := syscall.Kill(old, syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}

		// A connection made while nobody accepts is answered by the next process.
		greet(t)

		slowest = max(slowest, time.Since(start))

		kittest.Await(t, 10*time.Second, "a new process", func() bool { return m.hostPID("a") != old })
	}

	stop()
	load.Wait()
	t.Logf("%d calls, %d failed, slowest recovery %s", calls.Load(), failed.Load(), slowest)

	if failed.Load() > 0 || slowest > 2*time.Second {
		t.Errorf("%d of %d calls failed, slowest recovery %s", failed.Load(), calls.Load(), slowest)
	}
}

func greet(t *testing.T) {
	t.Helper()

	conn, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", listenPort(t)))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()

	buf := make([]byte, 16)
	if n, err := conn.Read(buf); err != nil || string(buf[:n]) != "hello\n" {
		t.Errorf("greeted with %q, %v", buf[:n], err)
	}
}

func TestCrashLoopIsParkedAndTheRestServes(t *testing.T) {
	m := newMachine(t)
	m.fake("good", "serve", "aliases: [fine]\n")
	m.fake("bad", "crash", "")
	m.boot()
	m.await("fine", "Running")

	kittest.Await(t, 30*time.Second, "bad is parked", func() bool {
		return strings.Contains(messages(m.service("bad")), "Parked after 5 crashes")
	})

	said := messages(m.service("bad"))
	for _, want := range []string{"restarting at once", "restarting in 250ms", "restarting in 4s", "its last log lines: panic: out of clay"} {
		if !strings.Contains(said, want) {
			t.Errorf("events lack %q:\n%s", want, said)
		}
	}

	if s := m.service("good"); s.GetState() != "Running" {
		t.Errorf("good is %s", s.GetState())
	}

	answer, err := m.ServiceStart(t.Context(), &machine.ServiceStartRequest{Id: "bad"})
	if err != nil || answer.GetMessages()[0].GetResp() != `Service "bad" started` {
		t.Errorf("%v, %v", answer, err)
	}
}

// TestOrphansAreReaped looks for zombies in init's PID namespace.
func TestOrphansAreReaped(t *testing.T) {
	m := newMachine(t)

	leash := filepath.Join(m.root, "leash")
	if err := syscall.Mkfifo(leash, 0o600); err != nil {
		t.Fatal(err)
	}

	m.fake("a", "orphans", "restart: once\nkill: group\nenv: {DACTYL_FAKE: orphans, DACTYL_LEASH: "+leash+"}\n")
	m.boot()
	m.await("a", "Finished")

	// The other end opens only while the orphan lives.
	var writer *os.File

	kittest.AwaitNoError(t, 10*time.Second, func() (err error) {
		writer, err = os.OpenFile(leash, os.O_WRONLY|syscall.O_NONBLOCK, 0)

		return err
	})

	if have := childrenOf(m.cmd.Process.Pid); len(have) != 1 {
		t.Errorf("init has the children %v, want the orphan alone", have)
	}

	if err := writer.Close(); err != nil {
		t.Fatal(err)
	}

	kittest.Await(t, 10*time.Second, "the orphan's end", func() bool { return len(childrenOf(m.cmd.Process.Pid)) == 0 })
}

// childrenOf are the PIDs of a process's children, zombies too, as they are outside its namespace.
func childrenOf(pid int) []int {
	paths, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", pid))

	var pids []int

	for _, path := range paths {
		list, _ := os.ReadFile(path)

		for field := range strings.FieldsSeq(string(list)) {
			if pid, err := strconv.Atoi(field); err == nil {
				pids = append(pids, pid)
			}
		}
	}

	return pids
}

func TestRequestsAndRefusals(t *testing.T) {
	m := newMachine(t)
	m.fake("a", "serve", "")
	m.fake("b", "serve", "needs: [a]\nuser: 50\naliases: [two]\n")
	m.boot()
	m.await("b", "Running")

	before := m.hostPID("b")

	if _, err := m.ServiceRestart(t.Context(), &machine.ServiceRestartRequest{Id: "b"}); err != nil {
		t.Fatal(err)
	}

	kittest.Await(t, 10*time.Second, "b restarts", func() bool { return m.hostPID("b") != before })
	m.await("b", "Running")
	confined(t, m.hostPID("b"), "50")

	for id, code := range map[string]codes.Code{"init": codes.FailedPrecondition, "machined": codes.FailedPrecondition, "x": codes.NotFound} {
		if _, err := m.ServiceRestart(t.Context(), &machine.ServiceRestartRequest{Id: id}); status.Code(err) != code {
			t.Errorf("restart %s: %v", id, err)
		}
	}

	m.listed()
}

// listed looks for the services among what runs, under the names that `service` has, too. What they use stands below /proc,
// which this machine does not have: tools/e2e asks for it.
func (m *machineUnderTest) listed() {
	m.t.Helper()

	for namespace, want := range map[string]string{"system": "a b init machined two", "": "a b init machined two", "k8s.io": ""} {
		if _, err := m.Stats(m.t.Context(), &machine.StatsRequest{Namespace: namespace}); err != nil {
			m.t.Errorf("stats of %q: %v", namespace, err)
		}

		containers, err := m.Containers(m.t.Context(), &machine.ContainersRequest{Namespace: namespace})
		if err != nil {
			m.t.Fatal(err)
		}

		var run []string

		for _, c := range containers.GetMessages()[0].GetContainers() {
			if c.GetId() != c.GetPodId() || c.GetPid() == 0 || c.GetNamespace() != "system" {
				m.t.Errorf("containers have %v", c)
			}

			run = append(run, c.GetId())
		}

		if strings.Join(run, " ") != want {
			m.t.Errorf("namespace %q has %q, want %q", namespace, run, want)
		}
	}
}

// confined looks at a process's walls from outside.
func confined(t *testing.T, pid int, uid string) {
	t.Helper()

	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		t.Fatal(err)
	}

	for _, want := range []string{"NoNewPrivs:\t1", "CapBnd:\t0000000000000000", "CapEff:\t0000000000000000", "Uid:\t" + uid, "Groups:\t50"} {
		if !strings.Contains(string(data), want) {
			t.Errorf("PID %d lacks %q:\n%s", pid, want, data)
		}
	}
}

func TestLogsFollowAndOutliveTheBoot(t *testing.T) {
	m := newMachine(t)
	m.fake("a", "serve", "")
	m.boot()
	m.await("a", "Running")

	follow, err := m.Logs(t.Context(), &machine.LogsRequest{Namespace: "system", Id: "a", Follow: true, TailLines: -1})
	if err != nil {
		t.Fatal(err)
	}

	awaitLine(t, follow)

	if err := syscall.Kill(m.hostPID("a"), syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}

	awaitLine(t, follow)

	if _, err := m.Reboot(t.Context(), &machine.RebootRequest{}); err != nil {
		t.Fatal(err)
	}

	expectExit(t, m, 64)
	m.boot()

	previous, err := m.Logs(t.Context(), &machine.LogsRequest{Id: "a.prev", TailLines: -1})
	if err != nil {
		t.Fatal(err)
	}

	awaitLine(t, previous)

	// Clients know this case by the end of its text.
	unknown, err := m.Logs(t.Context(), &machine.LogsRequest{Id: "nosuch"})
	if err == nil {
		_, err = unknown.Recv()
	}

	if text := status.Convert(err).Message(); status.Code(err) != codes.NotFound || !strings.HasSuffix(text, `log "nosuch" was not registered`) {
		t.Errorf("an unknown log: %v", err)
	}

	if err := m.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}

	expectExit(t, m, 0)
}

func awaitLine(t *testing.T, stream grpc.ServerStreamingClient[common.Data]) {
	t.Helper()

	for {
		data, err := stream.Recv()
		if err != nil {
			t.Fatal(err)
		}

		if strings.Contains(string(data.GetBytes()), "fake serves") {
			return
		}
	}
}

func expectExit(t *testing.T, m *machineUnderTest, code int) {
	t.Helper()

	select {
	case <-m.exit: //nolint:errcheck // its exit code is asked below
		if got := m.cmd.ProcessState.ExitCode(); got != code {
			t.Fatalf("init exited with %d, want %d", got, code)
		}
	case <-time.After(20 * time.Second):
		t.Fatal("init did not exit")
	}
}
