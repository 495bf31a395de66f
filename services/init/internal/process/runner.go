package process

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"sync"
	"syscall"

	"github.com/dactyl-os/dactyl/services/init/internal/logring"
	"github.com/dactyl-os/dactyl/services/init/internal/manifest"
	"github.com/dactyl-os/dactyl/services/init/internal/supervise"
	"github.com/dactyl-os/dactyl/services/kit/dial"
)

// Runner runs the daemons of one node.
type Runner struct {
	reaper  *Reaper
	cgroups *Cgroups
	lock    Landlock
	console io.Writer
	runDir  string
	logDir  string
	root    string
	// manifests are those of the image: units that daemons define own nothing.
	manifests []manifest.Manifest

	mu      sync.RWMutex
	daemons map[string]*daemon
}

// daemon is what outlives a daemon's process.
type daemon struct {
	log  *logring.Ring
	name string
	mu   sync.Mutex
	// spec is that of the current process.
	spec    manifest.Manifest
	sockets []listener
	// kept are descriptors that it has left with init, current is the process that may leave more.
	kept    map[string]int
	current *run
	pid     int
}

// Options say where a runner keeps things.
type Options struct {
	Reaper  *Reaper
	Cgroups *Cgroups
	// Landlock holds daemons to the files that their manifests list.
	Landlock Landlock
	// Console receives every line of every daemon, with its name in front.
	Console io.Writer
	// RunDir holds the sockets, LogDir the logs, Root is put before /proc and before the paths of manifests.
	RunDir, LogDir, Root string
}

// NewRunner opens sockets and logs of every manifest. What cannot be opened is reported; the daemons concerned are then
// left out of Usable.
func NewRunner(opts Options, manifests []manifest.Manifest) (*Runner, error) {
	r := &Runner{
		reaper: opts.Reaper, cgroups: opts.Cgroups, lock: opts.Landlock, console: opts.Console, runDir: opts.RunDir, logDir: opts.LogDir, root: opts.Root,
		manifests: manifests,
		daemons:   map[string]*daemon{},
	}

	if err := openRunDir(opts.RunDir); err != nil {
		return nil, fmt.Errorf("open run directory: %w", err)
	}

	var errs []error

	for _, m := range manifests {
		if err := r.open(m); err != nil {
			errs = append(errs, fmt.Errorf("prepare %s: %w", m.Name, err))
		}
	}

	return r, errors.Join(errs...)
}

// openRunDir makes the directory of sockets: everyone may pass through to a socket, whose own mode decides; only root may
// look around.
func openRunDir(dir string) error {
	return errors.Join(os.MkdirAll(dir, 0o711), os.Chmod(dir, 0o711))
}

// Open makes a unit's log and sockets; Start tries again what fails here.
func (r *Runner) Open(m manifest.Manifest) {
	if err := r.open(m); err != nil {
		fmt.Fprintf(r.console, "init: prepare %s: %v\n", m.Name, err)
	}
}

// open makes what outlives a daemon's process, as far as it is not there.
func (r *Runner) open(m manifest.Manifest) error {
	r.mu.Lock()
	defer r.mu.Unlock()

	d := r.daemons[m.Name]
	if d == nil {
		log, err := logring.Open(r.logDir, m.Name, logring.DefaultHalf)
		if err != nil {
			return err
		}

		d = &daemon{log: log, name: m.Name, spec: m}
	}

	d.mu.Lock()
	defer d.mu.Unlock()

	if err := d.openSockets(r.runDir, m); err != nil {
		return err
	}

	r.daemons[m.Name] = d

	return nil
}

func (r *Runner) daemon(service string) *daemon {
	r.mu.RLock()
	defer r.mu.RUnlock()

	return r.daemons[service]
}

// Drop closes all that is kept of a unit, and removes its socket and its log.
func (r *Runner) Drop(service string) {
	r.mu.Lock()
	d := r.daemons[service]
	delete(r.daemons, service)
	r.mu.Unlock()

	if d == nil {
		return
	}

	d.release(func(string) bool { return true })

	d.mu.Lock()
	defer d.mu.Unlock()

	d.current = nil
	d.closeSockets()
	r.cgroups.remove(groupOf(d.spec))

	err := errors.Join(removeSocket(r.socket(service)), removeSocket(r.socket(service)+withdrawn), d.log.Remove())
	if stopped := os.Remove(r.socket(service) + dial.Stopped); stopped != nil && !errors.Is(stopped, fs.ErrNotExist) {
		err = errors.Join(err, stopped)
	}

	if err != nil {
		fmt.Fprintf(r.console, "init: forget %s: %v\n", service, err)
	}
}

// Start makes a daemon's process.
func (r *Runner) Start(spec manifest.Manifest, ready func(version string), exited func(supervise.Exit)) (int, error) {
	service := spec.Name

	if err := r.open(spec); err != nil {
		return 0, fmt.Errorf("open its log and sockets: %w", err)
	}

	d := r.daemon(service)

	box, err := r.rules(spec)
	if err := errors.Join(err, r.admit(service)); err != nil {
		return 0, err
	}

	if box != nil {
		defer box.Close()
	}

	pipes, err := openPipes()
	if err != nil {
		return 0, err
	}

	defer pipes.closeChild()

	cgroup, err := r.cgroups.open(groupOf(spec), spec.Memory, spec.Delegate)
	if err != nil {
		return 0, errors.Join(err, pipes.closeParent())
	}

	if cgroup != nil {
		defer cgroup.Close()
	}

	run := &run{drained: make(chan struct{}), notified: make(chan struct{}), ended: make(chan struct{}), oomKills: r.cgroups.oomKills(groupOf(spec))}
	d.take(spec, run)

	files, env := d.handOver(spec, pipes)

	pid, err := r.reaper.start(
		func() (int, error) {
			pid, err := spawn(spec, env, files, cgroup, box)
			d.setPID(pid)

			return pid, err
		},
		func(status syscall.WaitStatus) { exited(r.ended(d, status, run)) })
	if err != nil {
		return 0, errors.Join(err, pipes.closeParent())
	}

	go r.collect(d, pipes.output, run.drained)

	r.awaitReady(d, spec, run, pipes.notify, ready)

	return pid, nil
}

// awaitReady calls ready, in time, when a daemon says that it is, or when the probe of anything else succeeds.
func (r *Runner) awaitReady(d *daemon, spec manifest.Manifest, run *run, notify *net.UnixConn, ready func(version string)) {
	if spec.Serves() {
		go r.told(d, run, ready).listen(notify, run.notified)

		return
	}

	close(run.notified)
	_ = notify.Close()

	go r.awaitProbe(spec, ready, run.ended)
}

// admit lets callers find the daemon's socket and wait at it.
func (r *Runner) admit(service string) error {
	if err := os.Rename(r.socket(service)+withdrawn, r.socket(service)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("put socket back: %w", err)
	}

	if err := os.Remove(r.socket(service) + dial.Stopped); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("let callers wait: %w", err)
	}

	return nil
}

// rules makes what the daemon owns, and are what else it may open; nil when its manifest does not say.
func (r *Runner) rules(m manifest.Manifest) (*os.File, error) {
	if err := r.own(m); err != nil {
		return nil, err
	}

	if !m.Confined() {
		return nil, nil
	}

	return r.lock.box(m.Command[0], r.below(m.Reads), append(r.below(m.Writes), r.owned(m)...))
}

func (r *Runner) socket(service string) string { return filepath.Join(r.runDir, service+".sock") }

// withdrawn is put behind the name of a socket that callers shall not find.
const withdrawn = ".withdrawn"

// Withdraw moves a daemon's socket out of the way, open as it is, until the daemon is started.
func (r *Runner) Withdraw(service string) {
	_ = os.Rename(r.socket(service), r.socket(service)+withdrawn) // there was none
}

// MarkStopped tells callers that a daemon does not come back by itself, until it is started.
func (r *Runner) MarkStopped(service string) {
	if err := os.WriteFile(r.socket(service)+dial.Stopped, nil, 0o644); err != nil {
		fmt.Fprintf(r.console, "init: mark %s as stopped: %v\n", service, err)
	}
}
