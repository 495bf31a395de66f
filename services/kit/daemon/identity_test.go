package daemon_test

import (
	"context"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/dactyl-os/dactyl/services/kit/dial"
	"github.com/dactyl-os/dactyl/services/kit/internal/testdaemon"
	"github.com/dactyl-os/dactyl/services/kit/kittest"
	"github.com/dactyl-os/dactyl/services/kit/kittest/door"
)

const strangers = "is none of this node's daemons and not in the cgroup of root's tools"

// TestRootInAContainerIsNobody: root in a mount and PID namespace of its own into which the run directory is bound.
func TestRootInAContainerIsNobody(t *testing.T) {
	kittest.RequireRoot(t)

	d := kittest.Start(t, pkg, kittest.Options{})
	probe := kittest.Build(t, "../internal/testdaemon/cmd/probe")

	for _, tc := range []struct{ who, group, want string }{
		{"beside the daemons", "kubepods", "kubepods may not call /time.TimeService/Time"},
		{"above the daemons", ".", strangers},
		{"elsewhere", "..", strangers},
	} {
		t.Run(tc.who, func(t *testing.T) {
			cmd := exec.Command("unshare", "--mount", "--pid", "--fork", "--mount-proc", "sh", "-ec",
				`mount --bind "$1" "$2"; exec "$0" "$2"/testdaemon.sock`, probe, d.RunDir, t.TempDir())
			kittest.Into(t, cmd, tc.group)

			if out, err := cmd.CombinedOutput(); err == nil || !strings.Contains(string(out), tc.want) {
				t.Errorf("it got: %s (%v), want %q", out, err, tc.want)
			}
		})
	}
}

// TestChildOfADaemonIsThatDaemon: helpers are known as what started them, in groups that it makes for them too.
func TestChildOfADaemonIsThatDaemon(t *testing.T) {
	d := kittest.Start(t, pkg, kittest.Options{})
	secret := pointer(testdaemon.SecretType, "key")

	kittest.AwaitNoError(t, 5*time.Second, func() error {
		_, err := stateOf(d.Conn()).Get(t.Context(), secret)

		return err
	})

	kittest.Cgroup(t, testdaemon.Reader)

	for _, group := range []string{testdaemon.Reader, testdaemon.Reader + "/helpers"} {
		child := exec.Command("sh", "-c", `"$0"; true`, kittest.Build(t, door.Command))
		kittest.Into(t, child, group)

		r, err := stateOf(kittest.ConnThrough(t, kittest.OpenDoor(t, child), d.Socket)).Get(within(t, 10*time.Second), secret)
		if err != nil || r.(*testdaemon.Item).TypedSpec().Value != "hidden" {
			t.Errorf("in %s a child of a reader got %v, %v", group, r, err)
		}
	}
}

// TestWhoHasEndedIsNobody: by the time that a daemon takes the connection, its maker's PID may be another's.
func TestWhoHasEndedIsNobody(t *testing.T) {
	run := t.TempDir()
	path := filepath.Join(run, "testdaemon.sock")

	file := listenFor(t, path)
	maker := kittest.Door(t, testdaemon.Reader)

	made, err := maker.Dial(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}

	maker.Close()
	kittest.Start(t, pkg, kittest.Options{RunDir: run, Files: []*os.File{file}, Env: []string{"LISTEN_FDS=1", "LISTEN_FDNAMES=testdaemon"}})

	conn, err := dial.Socket(path, grpc.WithContextDialer(func(context.Context, string) (net.Conn, error) { return made, nil }))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()

	_, err = stateOf(conn).Get(within(t, 10*time.Second), pointer(testdaemon.SecretType, "key"))
	if status.Code(err) != codes.PermissionDenied || !strings.Contains(err.Error(), strangers) {
		t.Errorf("it got %v", err)
	}
}

func listenFor(t *testing.T, path string) *os.File {
	t.Helper()

	own, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}

	t.Cleanup(func() { own.Close() })

	file, err := own.(*net.UnixListener).File()
	if err != nil {
		t.Fatal(err)
	}

	return file
}

// TestOutsideItsCgroup: a daemon that init has not put where it belongs does not guess; one that was started by hand takes
// its own user's processes and root's.
func TestOutsideItsCgroup(t *testing.T) {
	kittest.RequireRoot(t)

	program, probe := kittest.Build(t, pkg), kittest.Build(t, "../internal/testdaemon/cmd/probe")
	start := func(run string, files []*os.File, env ...string) *exec.Cmd {
		cmd := exec.Command(program, "--run-dir", run, "--state-dir", run)
		cmd.ExtraFiles, cmd.Env = files, append(os.Environ(), env...)
		kittest.Into(t, cmd, "somewhere")
		cmd.SysProcAttr.Pdeathsig = syscall.SIGKILL

		return cmd
	}

	t.Run("handed over", func(t *testing.T) {
		run := t.TempDir()
		file := listenFor(t, filepath.Join(run, "testdaemon.sock"))

		out, err := start(run, []*os.File{file}, "LISTEN_FDS=1", "LISTEN_FDNAMES=testdaemon").CombinedOutput()
		if err == nil || !strings.Contains(string(out), "not in one called testdaemon") {
			t.Errorf("it said: %s (%v)", out, err)
		}
	})

	t.Run("by hand", func(t *testing.T) {
		run := t.TempDir()
		socket := filepath.Join(run, "testdaemon.sock")

		cmd := start(run, nil)
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}

		defer func() {
			cmd.Process.Kill() //nolint:errcheck // it may have ended
			cmd.Wait()         //nolint:errcheck // killed
		}()

		kittest.AwaitNoError(t, 10*time.Second, func() error { return exec.Command(probe, socket).Run() })

		for path := socket; path != "/tmp"; path = filepath.Dir(path) {
			if err := os.Chmod(path, 0o777); err != nil {
				t.Fatal(err)
			}
		}

		nobody := &syscall.Credential{Uid: 65534, Gid: 65534}
		if out, err := runAs(t, nobody, probe, socket); err == nil || !strings.Contains(out, strangers) {
			t.Errorf("user 65534 got: %s (%v)", out, err)
		}
	})
}
