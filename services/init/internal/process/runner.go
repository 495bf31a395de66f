package process

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/dactyl-os/dactyl/services/init/internal/logring"
	"github.com/dactyl-os/dactyl/services/init/internal/manifest"
	"github.com/dactyl-os/dactyl/services/init/internal/supervise"
	"github.com/dactyl-os/dactyl/services/kit/dial"
)

const (
	// tailLines of a daemon's log explain its crash.
	tailLines = 5
	// drainTime is how long output still in the pipe is waited for: a grandchild may hold the pipe open for ever.
	drainTime = 100 * time.Millisecond
)

// Runner runs the daemons of one node.
type Runner struct {
	reaper  *Reaper
	cgroups *Cgroups
	console io.Writer
	daemons map[string]*daemon
	runDir  string
	root    string
}

// daemon is what outlives a daemon's process.
type daemon struct {
	log     *logring.Ring
	spec    manifest.Manifest
	sockets []listener
	mu      sync.Mutex
	pid     int
}

// Options say where a runner keeps things.
type Options struct {
	Reaper  *Reaper
	Cgroups *Cgroups
	// Console receives every line of every daemon, with its name in front.
	Console io.Writer
	// RunDir holds the sockets, LogDir the logs, Root is put before /proc.
	RunDir, LogDir, Root string
}

// NewRunner opens sockets and logs of every manifest. What cannot be opened is reported; the daemons concerned are then
// left out of Usable.
func NewRunner(opts Options, manifests []manifest.Manifest) (*Runner, error) {
	r := &Runner{
		reaper: opts.Reaper, cgroups: opts.Cgroups, console: opts.Console, runDir: opts.RunDir, root: opts.Root,
		daemons: map[string]*daemon{},
	}

	if err := openRunDir(opts.RunDir); err != nil {
		return nil, fmt.Errorf("open run directory: %w", err)
	}

	var errs []error

	for _, m := range manifests {
		d, err := prepare(opts, m)
		if err != nil {
			errs = append(errs, fmt.Errorf("prepare %s: %w", m.Name, err))

			continue
		}

		r.daemons[m.Name] = d
	}

	return r, errors.Join(errs...)
}

// openRunDir makes the directory of sockets: everyone may pass through to a socket, whose own mode decides; only root may
// look around. In pids every daemon reads who calls it, in started it leaves a mark of its first start.
func openRunDir(dir string) error {
	pids, started := filepath.Join(dir, "pids"), filepath.Join(dir, "started")

	err := errors.Join(os.MkdirAll(pids, 0o755), os.MkdirAll(started, 0o755), os.Chmod(dir, 0o711), os.Chmod(started, 0o775))
	if os.Getuid() == 0 {
		err = errors.Join(err, os.Chown(started, 0, Group))
	}

	return err
}

func prepare(opts Options, m manifest.Manifest) (*daemon, error) {
	log, err := logring.Open(opts.LogDir, m.Name, logring.DefaultHalf)
	if err != nil {
		return nil, err
	}

	sockets, err := openSockets(opts.RunDir, m)
	if err != nil {
		return nil, err
	}

	return &daemon{log: log, spec: m, sockets: sockets}, nil
}

// Log gives a daemon's log.
func (r *Runner) Log(service string) (*logring.Ring, bool) {
	d, known := r.daemons[service]
	if !known {
		return nil, false
	}

	return d.log, true
}

// AddLog lists a log that no process of this runner writes. Only before anything runs.
func (r *Runner) AddLog(service string, log *logring.Ring) {
	r.daemons[service] = &daemon{log: log, spec: manifest.Manifest{Name: service}}
}

// Logs are the names of all logs.
func (r *Runner) Logs() []string { return slices.Sorted(maps.Keys(r.daemons)) }

// MoveLogs goes on in dir with every log.
func (r *Runner) MoveLogs(dir string) error {
	return r.eachLog(func(log *logring.Ring) error { return log.Move(dir) })
}

// SyncLogs puts every log on the disk.
func (r *Runner) SyncLogs() error { return r.eachLog((*logring.Ring).Sync) }

// CloseLogs lets go of the disk that the logs are on.
func (r *Runner) CloseLogs() error { return r.eachLog((*logring.Ring).Close) }

func (r *Runner) eachLog(do func(*logring.Ring) error) error {
	var errs []error

	for name, d := range r.daemons {
		if err := do(d.log); err != nil {
			errs = append(errs, fmt.Errorf("log of %s: %w", name, err))
		}
	}

	return errors.Join(errs...)
}

// Start makes a daemon's process.
func (r *Runner) Start(service string, _ int, ready func(version string), exited func(supervise.Exit)) (int, error) {
	d, known := r.daemons[service]
	if !known {
		return 0, errors.New("its sockets or its log could not be opened at boot")
	}

	if err := os.Rename(r.socket(service)+withdrawn, r.socket(service)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return 0, fmt.Errorf("put socket back: %w", err)
	}

	if err := os.Remove(r.socket(service) + dial.Stopped); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return 0, fmt.Errorf("let callers wait: %w", err)
	}

	pipes, err := openPipes()
	if err != nil {
		return 0, err
	}

	defer pipes.closeChild()

	cgroup, err := r.cgroups.open(service, d.spec.Memory)
	if err != nil {
		return 0, errors.Join(err, pipes.closeParent())
	}

	if cgroup != nil {
		defer cgroup.Close()
	}

	files, env := d.handOver(pipes)
	drained := make(chan struct{})

	pid, err := r.reaper.start(
		func() (int, error) {
			pid, err := spawn(d.spec, env, files, cgroup)
			d.setPID(pid)

			return pid, err
		},
		func(status syscall.WaitStatus) { exited(r.ended(d, status, drained)) })
	if err != nil {
		return 0, errors.Join(err, pipes.closeParent())
	}

	// The daemons it calls look its name up by its PID.
	if err := os.WriteFile(r.pidFile(service), []byte(strconv.Itoa(pid)+"\n"), 0o644); err != nil {
		fmt.Fprintf(r.console, "init: write PID of %s: %v\n", service, err)
	}

	go r.collect(d, pipes.output, drained)
	go awaitReady(pipes.notify, ready)

	return pid, nil
}

func (r *Runner) socket(service string) string { return filepath.Join(r.runDir, service+".sock") }

// withdrawn is put behind the name of a socket that callers shall not find.
const withdrawn = ".withdrawn"

// Withdraw moves a daemon's socket out of the way, open as it is, until the daemon is started.
func (r *Runner) Withdraw(service string) {
	_ = os.Rename(r.socket(service), r.socket(service)+withdrawn) //nolint:errcheck // there was none
}

// MarkStopped tells callers that a daemon does not come back by itself, until it is started.
func (r *Runner) MarkStopped(service string) {
	if err := os.WriteFile(r.socket(service)+dial.Stopped, nil, 0o644); err != nil {
		fmt.Fprintf(r.console, "init: mark %s as stopped: %v\n", service, err)
	}
}

// Signal sends a signal to a daemon's process or to all it has started.
func (r *Runner) Signal(service string, signal syscall.Signal, group bool) {
	d := r.daemons[service]
	if d == nil {
		return
	}

	d.mu.Lock()
	defer d.mu.Unlock()

	if d.pid <= 0 {
		return
	}

	if !group {
		_ = syscall.Kill(d.pid, signal)

		return
	}

	_ = syscall.Kill(-d.pid, signal)

	if signal == syscall.SIGKILL {
		r.cgroups.kill(service)
	}
}

// ended cleans up after a process and says how it ended.
func (r *Runner) ended(d *daemon, status syscall.WaitStatus, drained <-chan struct{}) supervise.Exit {
	if pid := d.setPID(0); pid > 0 {
		_ = syscall.Kill(-pid, syscall.SIGKILL) // helpers do not outlive it
	}

	_ = os.Remove(r.pidFile(d.spec.Name))

	select {
	case <-drained:
	case <-time.After(drainTime):
	}

	return supervise.Exit{
		Status: describe(status), Success: status.Exited() && status.ExitStatus() == 0,
		Killed: status.Signaled() && status.Signal() == syscall.SIGKILL, Tail: d.log.Tail(tailLines),
	}
}

// collect moves output into the log and onto the console, whole lines at a time.
func (r *Runner) collect(d *daemon, output *os.File, drained chan<- struct{}) {
	defer close(drained)
	defer output.Close()

	reader := bufio.NewReaderSize(output, 4<<10)
	prefix := []byte(d.spec.Name + " | ")

	for {
		line, err := reader.ReadSlice('\n')
		if len(line) > 0 {
			if !bytes.HasSuffix(line, []byte("\n")) {
				line = append(bytes.Clone(line), '\n')
			}

			_, _ = d.log.Write(line)
			_, _ = r.console.Write(append(bytes.Clone(prefix), line...))
		}

		if err != nil && !errors.Is(err, bufio.ErrBufferFull) {
			return
		}
	}
}

func (r *Runner) pidFile(service string) string { return filepath.Join(r.runDir, "pids", service) }

// setPID keeps the PID of the current process and gives the one before.
func (d *daemon) setPID(pid int) int {
	d.mu.Lock()
	defer d.mu.Unlock()

	before := d.pid
	d.pid = pid

	return before
}

// handOver gives the process its descriptors in order (none, output, output, sockets, notify) and tells it of them.
func (d *daemon) handOver(p *pipes) ([]uintptr, []string) {
	files := []uintptr{p.null.Fd(), p.childOutput.Fd(), p.childOutput.Fd()}
	names := make([]string, 0, len(d.sockets))

	for _, s := range d.sockets {
		files, names = append(files, s.file.Fd()), append(names, s.name)
	}

	files = append(files, p.childNotify.Fd())

	env := []string{
		"PATH=/usr/bin", "HOME=/",
		"LISTEN_FDS=" + strconv.Itoa(len(d.sockets)),
		"LISTEN_FDNAMES=" + strings.Join(names, ":"),
		"NOTIFY_FD=" + strconv.Itoa(len(files)-1),
	}

	// The runtime collects garbage harder before the kernel's limit ends the process.
	if limit := d.spec.Memory; limit > 0 && d.spec.Env["GOMEMLIMIT"] == "" {
		env = append(env, "GOMEMLIMIT="+strconv.FormatInt(limit/10*9, 10))
	}

	for _, key := range slices.Sorted(maps.Keys(d.spec.Env)) {
		env = append(env, key+"="+d.spec.Env[key])
	}

	return files, env
}

// awaitReady calls ready when the daemon says that it serves, with the version that it gave before.
func awaitReady(notify *os.File, ready func(version string)) {
	defer notify.Close()

	var version string

	for scanner := bufio.NewScanner(notify); scanner.Scan(); {
		switch key, value, _ := strings.Cut(scanner.Text(), "="); key {
		case "VERSION":
			version = value
		case "READY":
			ready(version)
		}
	}
}
