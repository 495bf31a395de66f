package kittest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"runtime"
	"syscall"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/health/grpc_health_v1"

	"github.com/dactyl-os/dactyl/services/kit/dial"
)

// startTimeout bounds the time until a daemon serves.
const startTimeout = 15 * time.Second

// Options say how Start runs a daemon.
type Options struct {
	// Name is the daemon's name when it is not the last element of the package path.
	Name string
	// Args are added to the command line.
	Args []string
	// Env is added to the environment.
	Env []string
	// Config is written to a file that is passed as --config: the daemon runs alone.
	Config string
	// RunDir, StateDir and Root default to fresh temporary directories; daemons that share a RunDir see each other.
	RunDir, StateDir, Root string
	// NS runs the daemon in a network namespace.
	NS *NS
	// Files are handed over from descriptor 3 on.
	Files []*os.File
	// Credential runs the daemon as another user.
	Credential *syscall.Credential
}

// Daemon is a running daemon process. It is in a cgroup of its name, as init does it.
type Daemon struct {
	Name, RunDir, StateDir, Root, Socket string

	t    testing.TB
	bin  string
	opts Options
	conn *grpc.ClientConn
	// group is the daemon's cgroup.
	group *os.File

	cmd  *exec.Cmd
	done chan struct{}
	err  error
	log  Buffer
}

// Start builds the main package (once per test process), runs it in temporary directories, and waits until its health is
// SERVING. It ends with the test; its log is printed when the test failed.
func Start(t testing.TB, pkg string, opts Options) *Daemon {
	t.Helper()

	d := Launched(t, pkg, opts)
	d.AwaitServing()

	return d
}

// Launched is Start without the waiting, for daemons that are to fail.
func Launched(t testing.TB, pkg string, opts Options) *Daemon {
	t.Helper()

	if opts.Name == "" {
		opts.Name = path.Base(pkg)
	}

	// First the group: what is built while another test is the last to leave the groups would end with them.
	group := openCgroup(t, opts.Name)
	d := &Daemon{
		Name: opts.Name, t: t, opts: opts, bin: Build(t, pkg), group: group,
		RunDir: orTemp(t, opts.RunDir), StateDir: orTemp(t, opts.StateDir), Root: orTemp(t, opts.Root),
	}
	d.Socket = filepath.Join(d.RunDir, d.Name+".sock")

	t.Cleanup(func() {
		d.Kill()

		if d.conn != nil {
			d.conn.Close()
		}

		if t.Failed() {
			t.Logf("log of %s:\n%s", d.Name, d.Log())
		}
	})

	d.Launch()

	return d
}

// SetFiles changes what the next Launch hands over.
func (d *Daemon) SetFiles(files []*os.File) { d.opts.Files = files }

// SetEnv changes what the next Launch adds to the environment.
func (d *Daemon) SetEnv(env ...string) { d.opts.Env = env }

// orTemp gives dir or a fresh short directory: paths of unix sockets hold 107 bytes.
func orTemp(t testing.TB, dir string) string {
	t.Helper()

	if dir != "" {
		return dir
	}

	dir, err := os.MkdirTemp("", "kit")
	if err != nil {
		t.Fatal(err)
	}

	t.Cleanup(func() { os.RemoveAll(dir) })

	return dir
}

// Launch starts the process without waiting for anything; the daemon must not be running.
func (d *Daemon) Launch() {
	d.t.Helper()

	args := []string{d.bin, "--run-dir", d.RunDir, "--state-dir", d.StateDir, "--root", d.Root, "--log-level", "debug"}

	if d.opts.Config != "" {
		file := filepath.Join(d.StateDir, "kittest-config.yaml")
		if err := os.WriteFile(file, []byte(d.opts.Config), 0o600); err != nil {
			d.t.Fatal(err)
		}

		args = append(args, "--config", file)
	}

	args = append(args, d.opts.Args...)

	if d.opts.NS != nil {
		args = append([]string{"ip", "netns", "exec", d.opts.NS.Name}, args...)
	}

	cmd := exec.Command(args[0], args[1:]...)
	cmd.Stdout, cmd.Stderr = &d.log, &d.log
	cmd.Env = append(os.Environ(), d.opts.Env...)
	cmd.ExtraFiles = d.opts.Files
	// The daemon dies with the test process, even when that is killed.
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Credential: d.opts.Credential}
	into(cmd, d.group)

	started := make(chan error)
	done := make(chan struct{})
	d.cmd, d.done = cmd, done

	go func() {
		// Pdeathsig follows the thread that forked, so that thread has to stay as long as the process does.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()

		err := cmd.Start()
		started <- err

		if err == nil {
			d.err = cmd.Wait()
		}

		close(done)
	}()

	if err := <-started; err != nil {
		d.t.Fatalf("start %s: %v", d.Name, err)
	}
}

// AwaitServing waits until the daemon's health is SERVING.
func (d *Daemon) AwaitServing() {
	d.t.Helper()

	ctx, cancel := context.WithTimeout(context.Background(), startTimeout)
	defer cancel()

	answered := make(chan error, 1)

	go func() {
		resp, err := grpc_health_v1.NewHealthClient(d.Conn()).Check(ctx, &grpc_health_v1.HealthCheckRequest{})
		if err == nil && resp.GetStatus() != grpc_health_v1.HealthCheckResponse_SERVING {
			err = fmt.Errorf("health is %s", resp.GetStatus())
		}
		answered <- err
	}()

	select {
	case err := <-answered:
		if err != nil {
			d.t.Fatalf("await %s: %v\n%s", d.Name, err, d.Log())
		}
	case <-d.done:
		d.t.Fatalf("%s ended before it served: %v\n%s", d.Name, d.err, d.Log())
	}
}

// Conn is a client connection to the daemon's socket, as root's own tool.
func (d *Daemon) Conn() *grpc.ClientConn {
	d.t.Helper()

	if d.conn == nil {
		conn, err := dial.Socket(d.Socket)
		if err != nil {
			d.t.Fatal(err)
		}

		d.conn = conn
	}

	return d.conn
}

// PID is the process id; with a network namespace too, `ip netns exec` becomes the daemon.
func (d *Daemon) PID() int { return d.cmd.Process.Pid }

// Kill sends SIGKILL and waits for the end.
func (d *Daemon) Kill() {
	if d.cmd == nil || d.cmd.Process == nil {
		return
	}

	d.cmd.Process.Kill() //nolint:errcheck // it may have ended
	<-d.done
}

// Restart kills the daemon and starts it again with the same directories.
func (d *Daemon) Restart() {
	d.t.Helper()
	d.Kill()
	d.Launch()
	d.AwaitServing()
}

// Stop sends SIGTERM, waits, and gives the exit error.
func (d *Daemon) Stop(ctx context.Context) error {
	if err := d.cmd.Process.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}

	return d.Wait(ctx)
}

// Wait waits for the daemon's end and gives the exit error.
func (d *Daemon) Wait(ctx context.Context) error {
	select {
	case <-d.done:
		return d.err
	case <-ctx.Done():
		return fmt.Errorf("%s still runs: %w", d.Name, ctx.Err())
	}
}

// Log is what the daemon has written so far, over all its starts.
func (d *Daemon) Log() string { return d.log.String() }
