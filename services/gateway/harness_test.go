package gateway_test

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/cosi-project/runtime/pkg/state"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/emptypb"

	"github.com/dactyl-os/dactyl/proto/machine"
	"github.com/dactyl-os/dactyl/services/gateway/internal/fake"
	"github.com/dactyl-os/dactyl/services/kit/access"
	"github.com/dactyl-os/dactyl/services/kit/kittest"
)

// The test binary runs itself again as the owners that a test kills.
const (
	ownersVariable = "GATEWAY_TEST_OWNERS"
	runDirVariable = "GATEWAY_TEST_RUN_DIR"
)

func TestMain(m *testing.M) {
	if owners := os.Getenv(ownersVariable); owners != "" {
		os.Exit(serveOwners(os.Getenv(runDirVariable), strings.Split(owners, ",")))
	}

	if os.Getenv(benchVariable) != "" {
		os.Exit(serveBench())
	}

	os.Exit(kittest.NoLeaks(m))
}

func serveOwners(runDir string, owners []string) int {
	for _, owner := range owners {
		listener, err := fake.Listen(runDir, owner)
		if err != nil {
			fmt.Fprintln(os.Stderr, err)

			return 1
		}

		go func() { _ = fake.NewOwner(owner).Serve(listener) }()
	}

	select {}
}

// binary builds the gateway once for all tests.
func binary(t testing.TB) string {
	t.Helper()

	// A build of one's own: another set of tags, another revision to compare with.
	if own := os.Getenv("GATEWAY_BINARY"); own != "" {
		return own
	}

	return kittest.Build(t, "./cmd/gateway")
}

// process is a program of a test.
type process struct {
	cmd  *exec.Cmd
	log  *kittest.Buffer
	done chan struct{}
}

func start(t testing.TB, cmd *exec.Cmd, env ...string) *process {
	t.Helper()

	p := &process{cmd: cmd, log: &kittest.Buffer{}, done: make(chan struct{})}
	cmd.Env = append(os.Environ(), env...)
	cmd.Stderr = p.log

	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{}
	}

	cmd.SysProcAttr.Pdeathsig = syscall.SIGKILL

	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}

	go func() {
		_ = cmd.Wait()

		close(p.done)
	}()

	t.Cleanup(func() {
		p.kill()

		if t.Failed() {
			t.Logf("%s wrote:\n%s", filepath.Base(cmd.Path), p.log)
		}
	})

	return p
}

func (p *process) kill() {
	_ = p.cmd.Process.Kill()
	<-p.done
}

// node is one gateway process with the daemons around it.
type node struct {
	address, runDir string
	// listener is held by the test as init would, so the gateway can go and come.
	listener *net.TCPListener
	// metrics is held in the same way where a test wants it.
	metrics *net.TCPListener
	// credential runs the gateway as somebody else.
	credential      *syscall.Credential
	trustd, configd state.State
	owners          *process
	gateway         *process
}

// newNode makes a node without a configuration whose gateway is not started yet; port "0" takes a free one.
func newNode(t testing.TB, address, port string) *node {
	t.Helper()

	n := &node{address: address, runDir: t.TempDir()}
	n.listen(t, port)
	n.trustd = fake.State(t, n.runDir, "trustd")
	n.configd = fake.State(t, n.runDir, "configd")
	fake.PublishNone(t, n.configd)

	return n
}

func (n *node) listen(t testing.TB, port string) {
	t.Helper()

	listener, err := net.Listen("tcp", net.JoinHostPort(n.address, port))
	if err != nil {
		t.Fatal(err)
	}

	n.listener = listener.(*net.TCPListener) //nolint:forcetypeassert // of network tcp

	t.Cleanup(func() { _ = listener.Close() })
}

func (n *node) port() string {
	_, port, _ := net.SplitHostPort(n.listener.Addr().String())

	return port
}

// startOwners runs owners of methods in one process: all but the two whose resources the test holds itself.
func (n *node) startOwners(t testing.TB) {
	t.Helper()

	n.owners = start(t, exec.Command(os.Args[0]),
		ownersVariable+"=init,hostd,networkd,timed,discoveryd,etcdd,podd,diskd,extd", runDirVariable+"="+n.runDir)

	await(t, 10*time.Second, func() error {
		_, err := os.Stat(filepath.Join(n.runDir, "extd.sock"))

		return err
	})
}

// startGateway hands the listeners over as init does.
func (n *node) startGateway(t testing.TB) {
	t.Helper()

	public, err := n.listener.File()
	if err != nil {
		t.Fatal(err)
	}

	defer public.Close()

	socket, err := fake.Listen(n.runDir, "gateway")
	if err != nil {
		t.Fatal(err)
	}

	defer socket.Close()

	own, err := socket.(*net.UnixListener).File() //nolint:forcetypeassert // of network unix
	if err != nil {
		t.Fatal(err)
	}

	defer own.Close()

	args := append(strings.Fields(os.Getenv("GATEWAY_ARGS")), "--run-dir", n.runDir, "--state-dir", t.TempDir())
	cmd := exec.Command(binary(t), args...)
	cmd.ExtraFiles = []*os.File{own, public}
	names := "gateway:tcp-50000"

	if n.metrics != nil {
		file, err := n.metrics.File()
		if err != nil {
			t.Fatal(err)
		}

		defer file.Close()

		cmd.ExtraFiles = append(cmd.ExtraFiles, file)
		names += ":tcp-50003"
	}

	if n.credential != nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: n.credential}
	}

	kittest.Into(t, cmd, "gateway")

	n.gateway = start(t, cmd, "LISTEN_FDS="+strconv.Itoa(len(cmd.ExtraFiles)), "LISTEN_FDNAMES="+names)
}

func (n *node) dial(t testing.TB, config *tls.Config) *grpc.ClientConn {
	t.Helper()

	conn, err := grpc.NewClient("passthrough:///"+n.listener.Addr().String(),
		grpc.WithTransportCredentials(credentials.NewTLS(config)))
	if err != nil {
		t.Fatal(err)
	}

	t.Cleanup(func() { _ = conn.Close() })

	return conn
}

// client connects with a certificate that has the roles.
func (n *node) client(t testing.TB, authority *fake.Authority, roles ...string) *grpc.ClientConn {
	t.Helper()

	return n.dial(t, &tls.Config{
		RootCAs: authority.Pool(), ServerName: n.address,
		Certificates: []tls.Certificate{authority.Client(t, roles...).TLS(t)},
	})
}

// controlPlane starts a configured node of a control plane.
func controlPlane(t testing.TB, authority *fake.Authority, address, port string) *node {
	t.Helper()

	n := newNode(t, address, port)
	fake.PublishConfig(t, n.configd)
	fake.PublishAPI(t, n.trustd, authority.Server(t, address), authority.Client(t, access.Impersonator), authority)
	n.startOwners(t)
	n.startGateway(t)

	return n
}

func within(t testing.TB, bound time.Duration, pairs ...string) context.Context {
	t.Helper()

	ctx, cancel := context.WithTimeout(t.Context(), bound)
	t.Cleanup(cancel)

	return metadata.AppendToOutgoingContext(ctx, pairs...)
}

// await polls until check is content.
func await(t testing.TB, bound time.Duration, check func() error) {
	t.Helper()

	var err error

	for deadline := time.Now().Add(bound); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		if err = check(); err == nil {
			return
		}
	}

	t.Fatalf("after %s: %v", bound, err)
}

func version(ctx context.Context, conn *grpc.ClientConn) error {
	_, err := machine.NewMachineServiceClient(conn).Version(ctx, &emptypb.Empty{})

	return err
}

func metadataPairs(ctx context.Context, pairs ...string) context.Context {
	return metadata.AppendToOutgoingContext(ctx, pairs...)
}

func contains(log *kittest.Buffer, text string) error {
	if !strings.Contains(log.String(), text) {
		return fmt.Errorf("%q is not in the log:\n%s", text, log)
	}

	return nil
}

func wantCode(t testing.TB, err error, code codes.Code, text string) {
	t.Helper()

	if status.Code(err) != code || !strings.Contains(fmt.Sprint(err), text) {
		t.Errorf("got %v, want %s with %q", err, code, text)
	}
}
