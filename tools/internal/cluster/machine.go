package cluster

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// Condition of a machine as seen from the host.
type Condition string

// Conditions.
const (
	Running Condition = "running"
	Off     Condition = "stopped"
	// Lost is a machine whose supervisor died; the kernel has killed the node with it.
	Lost   Condition = "supervisor lost"
	Broken Condition = "does not boot"
)

// Condition tells how the machine is.
func (m *Machine) Condition() Condition {
	r, err := m.record()

	switch {
	case err != nil:
		return Broken
	case r.Supervisor.alive():
		return Running
	case r.Trouble != "":
		return Broken
	case r.Off:
		return Off
	default:
		return Lost
	}
}

// PowerOn starts the machine's supervisor, unless it runs.
func (m *Machine) PowerOn() error {
	if m.Condition() == Running {
		return nil
	}

	for _, dir := range []string{m.stateDir(), m.varDir(), m.rootDir()} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return fmt.Errorf("make machine directory: %w", err)
		}
	}

	// What a supervisor that was killed could not clean up.
	if err := m.clean(); err != nil {
		return err
	}

	console, err := m.openConsole()
	if err != nil {
		return err
	}
	defer console.Close()

	program, err := os.Executable()
	if err != nil {
		return fmt.Errorf("find own program: %w", err)
	}

	cmd := exec.Command(program, "cluster", "machine", "--state", filepath.Dir(m.cluster.dir), "--name", m.cluster.Name, "--node", m.Name)
	cmd.Dir, cmd.Env = "/", []string{"HOME=" + os.Getenv("HOME"), "PATH=" + os.Getenv("PATH")}
	cmd.Stdout, cmd.Stderr = console, console
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}

	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start supervisor of %s: %w", m.Name, err)
	}

	go func() { _ = cmd.Wait() }() // no zombie while this process lives

	return nil
}

// InitPID is the node's PID 1 as the host sees it.
func (m *Machine) InitPID() (int, error) {
	r, err := m.record()
	if err != nil {
		return 0, err
	}

	if !r.Init.alive() {
		return 0, fmt.Errorf("%s has no init running", m.Name)
	}

	return r.Init.PID, nil
}

// SupervisorPID is the process that plays the node's hardware.
func (m *Machine) SupervisorPID() (int, error) {
	r, err := m.record()
	if err != nil {
		return 0, err
	}

	if !r.Supervisor.alive() {
		return 0, fmt.Errorf("%s has no supervisor", m.Name)
	}

	return r.Supervisor.PID, nil
}

// BootID is the node's current boot.
func (m *Machine) BootID() (string, error) {
	r, err := m.record()

	return r.BootID, err
}

// PID is the process of a daemon of the node as the host sees it.
func (m *Machine) PID(daemon string) (int, error) {
	init, err := m.InitPID()
	if err != nil {
		return 0, err
	}

	want, err := os.Readlink(fmt.Sprintf("/proc/%d/ns/pid_for_children", init))
	if err != nil {
		return 0, fmt.Errorf("find PID namespace: %w", err)
	}

	paths, err := filepath.Glob("/proc/[0-9]*/ns/pid_for_children")
	if err != nil {
		return 0, fmt.Errorf("list processes: %w", err)
	}

	for _, path := range paths {
		have, err := os.Readlink(path)
		if err != nil || have != want {
			continue
		}

		dir := filepath.Dir(filepath.Dir(path))
		cmdline, _ := os.ReadFile(filepath.Join(dir, "cmdline"))
		program, _, _ := strings.Cut(string(cmdline), "\x00")

		if filepath.Base(program) == daemon {
			return strconv.Atoi(filepath.Base(dir))
		}
	}

	return 0, fmt.Errorf("%s runs no %s", m.Name, daemon)
}

// Kill sends SIGKILL to a daemon of the node; to init it is a power cut.
func (m *Machine) Kill(daemon string) error {
	pid, err := m.PID(daemon)
	if err != nil {
		return err
	}

	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		return fmt.Errorf("kill %s of %s: %w", daemon, m.Name, err)
	}

	return nil
}

// Exec runs a program of the host in the node's network namespace and gives its output.
func (m *Machine) Exec(ctx context.Context, name string, args ...string) (string, error) {
	out, err := exec.CommandContext(ctx, "ip", append([]string{"netns", "exec", m.Name, name}, args...)...).CombinedOutput()
	if err != nil {
		return string(out), fmt.Errorf("run %s in %s: %w: %s", name, m.Name, err, out)
	}

	return string(out), nil
}

// PowerOff presses the power button and waits until the machine is off.
func (m *Machine) PowerOff() error {
	r, err := m.record()
	if err != nil {
		return err
	}

	if err := r.Supervisor.kill(syscall.SIGTERM); err != nil {
		return err
	}

	return r.Supervisor.awaitGone(powerOffLimit + 5*time.Second)
}

// PullPlug ends the machine at once and removes what it had on the host.
func (m *Machine) PullPlug() error {
	r, err := m.record()
	if err != nil {
		return errors.Join(err, m.clean())
	}

	// A supervisor that starts only now has not written its record yet, but it holds the lock.
	if err := errors.Join(r.Supervisor.kill(syscall.SIGKILL), r.Supervisor.awaitGone(5*time.Second)); err != nil {
		return err
	}

	return m.clean()
}

// clean removes what a machine without supervisor may have left on the host.
func (m *Machine) clean() error {
	r, err := m.record()
	if err == nil {
		err = errors.Join(r.Init.kill(syscall.SIGKILL), r.Init.awaitGone(10*time.Second))
	}

	return errors.Join(err, m.killStrays(), m.emptyCgroup(10*time.Second), m.unplug())
}

// killStrays ends supervisors and boots of this machine that no record names: their command lines do.
func (m *Machine) killStrays() error {
	paths, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		return fmt.Errorf("list processes: %w", err)
	}

	marks := []string{
		strings.Join([]string{"cluster", "machine", "--state", filepath.Dir(m.cluster.dir), "--name", m.cluster.Name, "--node", m.Name, ""}, "\x00"),
		`"root":"` + m.rootDir() + `"`,
		"ifname=" + m.Link + "\x00", // QEMU
	}

	for _, path := range paths {
		cmdline, err := os.ReadFile(path)
		if err != nil || !slices.ContainsFunc(marks, func(mark string) bool { return strings.Contains(string(cmdline), mark) }) {
			continue
		}

		pid, err := strconv.Atoi(filepath.Base(filepath.Dir(path)))
		if err != nil || pid == os.Getpid() {
			continue
		}

		stray, err := identify(pid)
		if err != nil {
			continue
		}

		if err := errors.Join(stray.kill(syscall.SIGKILL), stray.awaitGone(10*time.Second)); err != nil {
			return err
		}
	}

	return nil
}
