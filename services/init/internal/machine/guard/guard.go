// Package guard decides whether this process is PID 1 of a machine of its own. Only then it gives a Permit, without which
// nothing in machine/mounts and machine/power does anything: mounting and reboot(2) are impossible on a developer's host, in
// a test and in a sandbox.
package guard

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"github.com/dactyl-os/dactyl/services/kit/cmdline"
)

// initialPIDNamespace is the inode of the first PID namespace of every kernel (PROC_PID_INIT_INO, linux/proc_ns.h).
const initialPIDNamespace = 0xEFFFFFFC

// container is the platform of a node that shares its kernel.
const container = "container"

// ErrNoMachine is the answer to a process that runs on a kernel it shares: in a sandbox, in a test, on a laptop.
var ErrNoMachine = errors.New("not PID 1 of a machine")

// Permit is the right to change the machine. The zero value is none; only Ask makes another.
type Permit struct{ granted bool }

// Check is nil for a permit that Ask gave.
func (p Permit) Check() error {
	if !p.granted {
		return ErrNoMachine
	}

	return nil
}

// Facts are what decides.
type Facts struct {
	Platform string
	// PIDNamespace is the inode of the process's PID namespace.
	PIDNamespace uint64
	PID, UID     int
	// Marked is set inside of containers: the variable "container" of their manager.
	Marked bool
}

// Decide is nil for a machine and ErrNoMachine for everything that is none. A machine may be on a platform that this version
// does not know: configd says so, and takes its configuration through the API.
func Decide(f Facts) error {
	switch {
	case f.PID != 1:
		return fmt.Errorf("%w: PID is %d", ErrNoMachine, f.PID)
	case f.PIDNamespace != initialPIDNamespace:
		return fmt.Errorf("%w: its PID namespace is not the kernel's first", ErrNoMachine)
	case f.UID != 0:
		return fmt.Errorf("%w: user is %d", ErrNoMachine, f.UID)
	case f.Marked:
		return fmt.Errorf("%w: the environment says that this is a container", ErrNoMachine)
	case f.Platform == "" || f.Platform == container:
		return fmt.Errorf("%w: talos.platform is %q", ErrNoMachine, f.Platform)
	}

	return nil
}

// Observe gathers the facts about this process. What cannot be read is left empty, which decides against a machine.
func Observe() Facts {
	f := Facts{PID: os.Getpid(), UID: os.Getuid(), Marked: os.Getenv("container") != ""}

	var stat unix.Stat_t
	if err := unix.Stat("/proc/self/ns/pid", &stat); err == nil {
		f.PIDNamespace = stat.Ino
	}

	if parameters, err := cmdline.Read("/"); err == nil {
		f.Platform = parameters.Last(cmdline.Platform)
	}

	return f
}

// Ask gives a permit to PID 1 of a machine.
func Ask() (Permit, error) {
	err := Decide(Observe())

	return Permit{granted: err == nil}, err
}
