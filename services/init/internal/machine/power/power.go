// Package power ends the machine: reboot(2) and the signal to every process. Without a permit it does nothing.
package power

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"github.com/dactyl-os/dactyl/services/init/internal/machine/guard"
)

// Action is how the machine ends.
type Action int

// Actions.
const (
	Reboot Action = iota
	PowerOff
	Halt
)

func (a Action) String() string { return [...]string{"reboot", "power off", "halt"}[a] }

// command of reboot(2).
func (a Action) command() int {
	return [...]int{unix.LINUX_REBOOT_CMD_RESTART, unix.LINUX_REBOOT_CMD_POWER_OFF, unix.LINUX_REBOOT_CMD_HALT}[a]
}

// Now ends the machine at once. It returns only when the kernel refuses, or the permit is none.
func Now(permit guard.Permit, action Action) error {
	if err := permit.Check(); err != nil {
		return fmt.Errorf("%s: %w", action, err)
	}

	if err := unix.Reboot(action.command()); err != nil {
		return fmt.Errorf("%s: %w", action, err)
	}

	return nil
}

// CatchKeys makes ctrl-alt-del a SIGINT to PID 1 instead of a reboot at once.
func CatchKeys(permit guard.Permit) error {
	if err := permit.Check(); err != nil {
		return fmt.Errorf("catch ctrl-alt-del: %w", err)
	}

	if err := unix.Reboot(unix.LINUX_REBOOT_CMD_CAD_OFF); err != nil {
		return fmt.Errorf("catch ctrl-alt-del: %w", err)
	}

	return nil
}

// EndProcesses asks every process to end, and after grace ends those that did not.
func EndProcesses(permit guard.Permit, grace time.Duration) error {
	if err := permit.Check(); err != nil {
		return fmt.Errorf("end processes: %w", err)
	}

	_ = unix.Kill(-1, unix.SIGTERM) // PID 1 is left out, kernel threads do not listen

	for deadline := time.Now().Add(grace); running(); time.Sleep(grace / 40) {
		if time.Now().After(deadline) {
			return unix.Kill(-1, unix.SIGKILL)
		}

		// The reaper has ended by now.
		for pid := 1; pid > 0; {
			pid, _ = unix.Wait4(-1, nil, unix.WNOHANG, nil)
		}
	}

	return nil
}

// running tells whether a process besides this one is left. Kernel threads and the dead have no program.
func running() bool {
	programs, _ := filepath.Glob("/proc/[0-9]*/exe")

	return slices.ContainsFunc(programs, func(exe string) bool {
		_, err := os.Readlink(exe)

		return err == nil && exe != "/proc/1/exe"
	})
}
