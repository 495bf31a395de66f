package cluster

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"syscall"
	"time"
)

const (
	// exitReboot is init's exit code that asks for a reboot; 0 asks for power off.
	exitReboot = 64
	// powerOffLimit is how long a node may take to end after the power button.
	powerOffLimit = 45 * time.Second
	// quickBoot: a node that dies sooner did not come up; after maxQuickBoots of those in a row its supervisor gives up.
	quickBoot     = 2 * time.Second
	maxQuickBoots = 5
	// consoleLimit bounds a node's console log; the part before is kept once.
	consoleLimit = 8 << 20
)

// Supervise plays the hardware of one node until that powers off: it boots the node, and again whenever its init asks for
// a reboot or dies. SIGTERM is the power button. When the supervisor itself dies, the kernel kills the node.
func Supervise(ctx context.Context, stateDir, clusterName, nodeName string) error {
	c, err := Load(stateDir, clusterName)
	if err != nil {
		return err
	}

	m, err := c.Node(nodeName)
	if err != nil {
		return err
	}

	lock, err := m.lock()
	if err != nil {
		return err
	}
	defer lock.Close()

	power := make(chan os.Signal, 1)
	signal.Notify(power, syscall.SIGTERM, syscall.SIGINT)
	signal.Ignore(syscall.SIGHUP)

	// The kernel watches the thread that made the node: it must live as long as this function.
	runtime.LockOSThread()

	self, err := identify(os.Getpid())
	if err != nil {
		return err
	}

	r, err := m.record()
	if err != nil {
		return err
	}

	r.Supervisor, r.Off, r.Trouble = self, false, ""

	if c.VMs != nil {
		err = m.powerOnVM(&r, power)
	} else {
		err = m.powerOn(ctx, &r, power)
	}

	r.Supervisor, r.Init = process{}, process{}
	if err != nil {
		r.Trouble = err.Error()
	} else {
		r.Off = true
	}

	return errors.Join(err, m.keep(r), m.unplug(), m.emptyCgroup(5*time.Second))
}

// lock tells others that the machine has a supervisor, for exactly as long as that lives.
func (m *Machine) lock() (*os.File, error) {
	f, err := os.OpenFile(m.lockPath(), os.O_CREATE|os.O_RDWR|syscall.O_CLOEXEC, 0o600)
	if err != nil {
		return nil, fmt.Errorf("lock machine: %w", err)
	}

	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		f.Close()

		return nil, fmt.Errorf("machine %s has a supervisor already: %w", m.Name, err)
	}

	return f, nil
}

// powerOn boots again and again.
func (m *Machine) powerOn(ctx context.Context, r *record, power <-chan os.Signal) error {
	for quick := 0; ; {
		started := time.Now()

		code, pressed, err := m.bootOnce(ctx, r, power)
		if err != nil {
			return err
		}

		if pressed || code == 0 {
			return nil
		}

		if quick++; time.Since(started) > quickBoot || code == exitReboot {
			quick = 0
		}

		if quick >= maxQuickBoots {
			return fmt.Errorf("init ended %d times within %s, the last time with code %d: see %s", quick, quickBoot, code, m.ConsolePath())
		}

		if quick > 1 {
			time.Sleep(time.Duration(quick) * 200 * time.Millisecond)
		}
	}
}

// bootOnce runs the node once. code is init's exit code, -1 when it was killed; pressed tells that the power button was.
func (m *Machine) bootOnce(ctx context.Context, r *record, power <-chan os.Signal) (code int, pressed bool, err error) {
	if err := m.emptyCgroup(5 * time.Second); err != nil {
		return 0, false, err
	}

	console, err := m.openConsole()
	if err != nil {
		return 0, false, err
	}
	defer console.Close()

	bootID, err := newBootID()
	if err != nil {
		return 0, false, fmt.Errorf("make boot id: %w", err)
	}

	r.BootID, r.Boots = bootID, r.Boots+1
	fmt.Fprintf(console, "supervisor: boot %d, boot id %s\n", r.Boots, bootID)

	cmd, err := m.start(ctx, console, bootID)
	if err != nil {
		return 0, false, err
	}

	if r.Init, err = identify(cmd.Process.Pid); err == nil {
		err = m.keep(*r)
	}

	if err != nil {
		_ = cmd.Process.Kill()
	}

	code, pressed = await(cmd, power)
	fmt.Fprintf(console, "supervisor: init ended (%s)\n", cmd.ProcessState)

	return code, pressed, errors.Join(err, m.unplug())
}

// start clones the namespaces, plugs the cable in and lets the node go.
func (m *Machine) start(ctx context.Context, console *os.File, bootID string) (*exec.Cmd, error) {
	program, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("find own program: %w", err)
	}

	cgroup, err := m.openCgroup()
	if err != nil {
		return nil, err
	}
	defer cgroup.Close()

	order, err := json.Marshal(bootOrder{
		Root: m.rootDir(), State: m.stateDir(), Var: m.varDir(), Binaries: m.cluster.Binaries, Manifests: m.cluster.Manifests,
		Cmdline: m.commandLine(), BootID: bootID,
	})
	if err != nil {
		return nil, fmt.Errorf("encode boot order: %w", err)
	}

	goPipe, hold, err := os.Pipe()
	if err != nil {
		return nil, fmt.Errorf("open pipe: %w", err)
	}
	defer goPipe.Close()
	defer hold.Close()

	cmd := exec.CommandContext(context.WithoutCancel(ctx), program, "cluster", "machine", "--boot", string(order))
	cmd.Env = []string{}
	cmd.Dir = "/"
	cmd.Stdin, cmd.Stdout, cmd.Stderr = goPipe, console, console
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags: syscall.CLONE_NEWPID | syscall.CLONE_NEWNS | syscall.CLONE_NEWUTS | syscall.CLONE_NEWIPC | syscall.CLONE_NEWNET,
		Pdeathsig:  syscall.SIGKILL,
		Setsid:     true,
		// Of its own, which the boot makes the root of what the node sees.
		UseCgroupFD: true,
		CgroupFD:    int(cgroup.Fd()),
	}

	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("clone the node: %w", err)
	}

	err = m.plugIn(cmd.Process.Pid)
	if err == nil {
		_, err = io.WriteString(hold, "go\n")
	}

	if err != nil {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()

		return nil, err
	}

	return cmd, nil
}

// await waits for the node's end and passes the power button on.
func await(cmd *exec.Cmd, power <-chan os.Signal) (code int, pressed bool) {
	ended := make(chan struct{})

	go func() {
		_ = cmd.Wait() // the state tells
		close(ended)
	}()

	var force <-chan time.Time

	for {
		select {
		case <-ended:
			return cmd.ProcessState.ExitCode(), pressed
		case <-power:
			pressed, force = true, time.After(powerOffLimit)
			_ = cmd.Process.Signal(syscall.SIGTERM)
		case <-force:
			_ = cmd.Process.Kill()
		}
	}
}

// openConsole opens the node's console log and keeps it within its bounds.
func (m *Machine) openConsole() (*os.File, error) {
	path := m.ConsolePath()
	if info, err := os.Stat(path); err == nil && info.Size() > consoleLimit {
		if err := os.Rename(path, path+".1"); err != nil {
			return nil, fmt.Errorf("turn console log: %w", err)
		}
	}

	f, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open console log: %w", err)
	}

	return f, nil
}

// Boot becomes the init of a node, as a supervisor's order says. It returns only when that fails.
func Boot(order string) error {
	var o bootOrder
	if err := json.Unmarshal([]byte(order), &o); err != nil {
		return fmt.Errorf("read boot order: %w", err)
	}

	return boot(o, os.Stdin)
}
