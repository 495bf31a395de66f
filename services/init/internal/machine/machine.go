// Package machine makes init the PID 1 of a machine of its own: what happens before the services start, beside them, and
// after they have stopped. In a sandbox none of it runs.
package machine

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/dactyl-os/dactyl/services/init/internal/machine/guard"
	"github.com/dactyl-os/dactyl/services/init/internal/machine/kernel"
	"github.com/dactyl-os/dactyl/services/init/internal/machine/kmsg"
	"github.com/dactyl-os/dactyl/services/init/internal/machine/lastboot"
	"github.com/dactyl-os/dactyl/services/init/internal/machine/mounts"
	"github.com/dactyl-os/dactyl/services/init/internal/machine/power"
	"github.com/dactyl-os/dactyl/services/kit/cmdline"
)

const (
	kernelLog = "/dev/kmsg"
	stateDir  = "/system/state"
	varDir    = "/var"
	pstoreDir = "/sys/fs/pstore"
)

// The way down in seconds: services, what they left running, file systems; and the end of all patience.
const (
	stopServices  = 18 * time.Second
	stopProcesses = 2 * time.Second
	stopMounts    = 7 * time.Second
	stopAll       = 29 * time.Second
)

// Machine is the machine that this process is PID 1 of.
type Machine struct {
	// Console is what people see on the machine's screen and serial port.
	Console *kmsg.Console

	permit     guard.Permit
	parameters cmdline.Parameters
	crash      []byte // dump of the kernel that crashed in the boot before

	mu     sync.Mutex
	record lastboot.Record
	begun  bool // record is on the disk
}

// Enter prepares the machine. It gives nil where there is none: in a sandbox, in a test. With a machine the error says why it
// cannot be used.
func Enter() (*Machine, error) {
	permit, err := guard.Ask()
	if errors.Is(err, guard.ErrNoMachine) {
		return nil, nil
	}

	parameters, cmdlineErr := cmdline.Read("/")
	debug := parameters.Has("debug")

	m := &Machine{permit: permit, parameters: parameters, record: lastboot.Record{Started: time.Now(), Boot: bootID()}}

	if err == nil {
		err = errors.Join(cmdlineErr, mounts.Early(permit, debug))
	}

	// The kernel lets programs write only some lines every few seconds unless told so.
	_ = os.WriteFile("/proc/sys/kernel/printk_devkmsg", []byte("on\n"), 0)
	useConsole()
	m.Console = kmsg.Open(kernelLog, os.Stderr, debug)
	m.Console.Say("init starts on platform %s", parameters.Last(cmdline.Platform))

	if permit.Check() == nil {
		if err := kernel.SaveMemory("/"); err != nil {
			m.Console.Say("%v", err)
		}
	}

	// Should init itself crash, the kernel reboots: it gets no chance to do so.
	if !parameters.Has(cmdline.Panic) {
		delay, _ := kernel.PanicDelay(parameters)
		_ = os.WriteFile("/proc/sys/kernel/panic", []byte(strconv.Itoa(int(delay.Seconds()))+"\n"), 0)
	}

	if keys := power.CatchKeys(permit); keys != nil {
		m.Console.Say("%v", keys)
	}

	m.crash = readCrash(pstoreDir)

	if missing := kernel.Missing(parameters); len(missing) > 0 {
		m.Console.Say("the kernel's command line lacks what hardens it: %s", strings.Join(missing, " "))
	}

	return m, err
}

// useConsole makes the console init's standard output: the first program of the initramfs may have had none, and the last
// words of a crash go there.
func useConsole() {
	f, err := os.OpenFile("/dev/console", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		return
	}
	defer f.Close()

	for fd := range 3 {
		_ = unix.Dup3(int(f.Fd()), fd, 0)
	}
}

func bootID() string {
	id, _ := os.ReadFile("/proc/sys/kernel/random/boot_id")

	return strings.TrimSpace(string(id))
}

// readCrash takes what the kernel of the boot before could save while it crashed, and makes room for the next time.
func readCrash(dir string) []byte {
	dumps, _ := filepath.Glob(filepath.Join(dir, "dmesg-*"))

	var out []byte

	for _, path := range dumps {
		if data, err := os.ReadFile(path); err == nil {
			out = append(append(out, data...), '\n')
			_ = os.Remove(path)
		}
	}

	return out
}

// Leave ends the machine for good: err is nil or the reason why init cannot go on, asked is the way down that was asked for.
// It returns only when even the kernel refuses; the end of PID 1 is then the end of the machine.
func (m *Machine) Leave(asked *Asked, err error) {
	if asked == nil {
		asked = &Asked{Action: power.Reboot, Reason: "init could not go on: " + fmt.Sprint(err)}
		m.Console.Say("%s", asked.Reason)
		m.waitForReader()
	}

	m.force(asked.Action)
	m.Console.Say("stopping what still runs")

	_ = power.EndProcesses(m.permit, stopProcesses)
	m.end(asked.Action.String() + ": " + asked.Reason)

	if asked.CloseLogs != nil {
		_ = asked.CloseLogs()
	}

	m.Console.Say("unmounting file systems")

	if err := mounts.Down(m.permit, stopMounts); err != nil {
		m.Console.Say("%v", err)
	}

	m.Console.Say("%s", asked.Action)

	if err := power.Now(m.permit, asked.Action); err != nil {
		m.Console.Say("%v", err)
	}
}

// Asked is an orderly way down.
type Asked struct {
	CloseLogs func() error
	Reason    string
	Action    power.Action
}

// Action is how the machine ends when a client asks to reboot it or to shut it down (talos.shutdown=halt).
func (m *Machine) Action(reboot bool) power.Action {
	switch {
	case reboot:
		return power.Reboot
	case m.parameters.Last(cmdline.Shutdown) == "halt":
		return power.Halt
	default:
		return power.PowerOff
	}
}

// waitForReader leaves time to read the console, as panic= says. Without a reboot the machine stays as it is for ever.
func (m *Machine) waitForReader() {
	delay, reboot := kernel.PanicDelay(m.parameters)
	if !reboot {
		m.Console.Say("it stays like this until it is reset (panic=0)")

		for {
			time.Sleep(time.Hour) // a bare select is a deadlock to the runtime, which ends PID 1
		}
	}

	m.Console.Say("reboot in %s", delay)
	time.Sleep(delay)
}

// force ends the machine when the orderly way down takes too long, whatever hangs.
func (m *Machine) force(action power.Action) {
	time.AfterFunc(stopAll-stopServices, func() {
		m.Console.Say("%s by force: something hangs", action)
		_ = power.Now(m.permit, action)
	})
}

// begin keeps the record of this boot once there is a place for it, and tells how the boot before ended.
func (m *Machine) begin() (previous string, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()

	if m.begun {
		return "", nil
	}

	previous, err = lastboot.Begin(stateDir, m.record, len(m.crash) > 0)
	m.begun = err == nil

	return previous, err
}

// end completes the record of this boot.
func (m *Machine) end(reason string) {
	m.mu.Lock()
	defer m.mu.Unlock()

	if !m.begun {
		return
	}

	if err := lastboot.End(stateDir, m.record, reason); err != nil {
		m.Console.Say("%v", err)
	}
}
