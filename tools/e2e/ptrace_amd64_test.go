package e2e

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"testing"

	"golang.org/x/sys/unix"
)

// closeDescriptors has a process close everything that it has open, its log and sockets included: its first thread is made
// to call close(2) for each.
func closeDescriptors(t *testing.T, pid int) {
	t.Helper()
	paths, err := filepath.Glob(fmt.Sprintf("/proc/%d/fd/*", pid))
	if err != nil {
		t.Fatal(err)
	}
	var calls [][]uint64
	for _, path := range paths {
		fd, err := strconv.ParseUint(filepath.Base(path), 10, 32)
		if err != nil {
			t.Fatal(err)
		}
		calls = append(calls, []uint64{unix.SYS_CLOSE, fd})
	}
	if err := inject(pid, calls); err != nil {
		t.Fatalf("close the descriptors of %d: %v", pid, err)
	}
	if left, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", pid)); err == nil && len(left) == len(paths) {
		t.Fatalf("all %d descriptors of %d are still open", len(left), pid)
	}
}

// allocate has a process take memory, all of it at once.
func allocate(t *testing.T, pid int, size uint64) {
	t.Helper()
	err := inject(pid, [][]uint64{{
		unix.SYS_MMAP, 0, size, unix.PROT_READ | unix.PROT_WRITE, unix.MAP_PRIVATE | unix.MAP_ANONYMOUS | unix.MAP_POPULATE, ^uint64(0), 0,
	}})
	if err != nil && !errors.Is(err, errEnded) {
		t.Fatalf("allocate in %d: %v", pid, err)
	}
}

// errEnded is the end of a process while it is traced.
var errEnded = errors.New("it has ended")

// inject has the first thread of a process make system calls. It waits in one, so the instruction before the next makes one.
func inject(pid int, calls [][]uint64) error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if err := unix.PtraceAttach(pid); err != nil {
		return fmt.Errorf("attach: %w", err)
	}
	defer func() { _ = unix.PtraceDetach(pid) }()
	if err := stopped(pid); err != nil {
		return err
	}
	var before unix.PtraceRegs
	if err := unix.PtraceGetRegs(pid, &before); err != nil {
		return fmt.Errorf("registers: %w", err)
	}
	for _, call := range calls {
		regs := before
		regs.Rip -= syscallLength
		regs.Orig_rax = ^uint64(0)
		for i, register := range []*uint64{&regs.Rax, &regs.Rdi, &regs.Rsi, &regs.Rdx, &regs.R10, &regs.R8, &regs.R9}[:len(call)] {
			*register = call[i]
		}
		if err := unix.PtraceSetRegs(pid, &regs); err != nil {
			return fmt.Errorf("registers: %w", err)
		}
		if err := unix.PtraceSingleStep(pid); err != nil {
			return fmt.Errorf("step: %w", err)
		}
		if err := stopped(pid); err != nil {
			return err
		}
	}

	return unix.PtraceSetRegs(pid, &before)
}

// syscallLength is that of the instruction syscall.
const syscallLength = 2

// stopped waits until a traced thread has stopped.
func stopped(pid int) error {
	var status unix.WaitStatus
	if _, err := unix.Wait4(pid, &status, unix.WALL, nil); err != nil {
		return fmt.Errorf("wait: %w", err)
	}
	if !status.Stopped() {
		return errEnded
	}

	return nil
}
