package cluster

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// process is a PID that cannot be mistaken for a later process with the same number.
type process struct {
	PID int `yaml:"pid"`
	// Start is the time of its start in clock ticks since the host's boot (field 22 of /proc/PID/stat).
	Start uint64 `yaml:"start"`
	// HostBoot tells one boot of the host from another.
	HostBoot string `yaml:"hostBoot"`
}

// identify takes the identity of a process that exists.
func identify(pid int) (process, error) {
	start, err := startTime(pid)
	if err != nil {
		return process{}, err
	}

	boot, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return process{}, fmt.Errorf("read boot id: %w", err)
	}

	return process{PID: pid, Start: start, HostBoot: strings.TrimSpace(string(boot))}, nil
}

func startTime(pid int) (uint64, error) {
	stat, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "stat"))
	if err != nil {
		return 0, fmt.Errorf("look at process: %w", err)
	}

	fields := bytes.Fields(stat[bytes.LastIndexByte(stat, ')')+1:])
	if len(fields) < 20 {
		return 0, fmt.Errorf("look at process %d: %d fields", pid, len(fields))
	}

	if string(fields[0]) == "Z" {
		return 0, os.ErrProcessDone
	}

	return strconv.ParseUint(string(fields[22-3]), 10, 64)
}

// alive tells whether the very process still runs.
func (p process) alive() bool {
	if p.PID <= 1 {
		return false
	}

	now, err := identify(p.PID)

	return err == nil && now == p
}

// kill sends a signal, if the process is still the same.
func (p process) kill(signal syscall.Signal) error {
	if !p.alive() {
		return nil
	}

	if err := syscall.Kill(p.PID, signal); err != nil && !errors.Is(err, syscall.ESRCH) {
		return fmt.Errorf("signal process %d: %w", p.PID, err)
	}

	return nil
}

// awaitGone waits until the process has ended.
func (p process) awaitGone(limit time.Duration) error {
	for deadline := time.Now().Add(limit); p.alive(); {
		if time.Now().After(deadline) {
			return fmt.Errorf("process %d is still there after %s", p.PID, limit)
		}

		time.Sleep(5 * time.Millisecond)
	}

	return nil
}
