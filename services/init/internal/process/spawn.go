package process

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"slices"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/dactyl-os/dactyl/services/init/internal/manifest"
)

// spawn makes the process. Its limits are set on a thread that makes nothing else and ends with its goroutine: the kernel
// keeps no-new-privileges, the bounding set and Landlock rules by thread, and a child starts with those of the thread that
// made it. cgroup and box may be nil.
func spawn(m manifest.Manifest, env []string, files []uintptr, cgroup, box *os.File) (int, error) {
	type result struct {
		err error
		pid int
	}

	made := make(chan result, 1)

	go func() {
		runtime.LockOSThread() // never unlocked

		if err := errors.Join(confine(m), enter(box)); err != nil {
			made <- result{err: err}

			return
		}

		pid, err := syscall.ForkExec(m.Command[0], m.Command, &syscall.ProcAttr{
			Dir: "/", Env: env, Files: files, Sys: attributes(m, cgroup),
		})
		made <- result{pid: pid, err: err}
	}()

	r := <-made
	if r.err != nil {
		return 0, fmt.Errorf("start %s: %w", m.Command[0], r.err)
	}

	return r.pid, nil
}

// confine limits what the calling thread's children can ever become.
func confine(m manifest.Manifest) error {
	if !m.NewPrivileges {
		if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
			return fmt.Errorf("no new privileges: %w", err)
		}
	}

	if os.Getuid() != 0 {
		return nil
	}

	kept := m.CapabilityNumbers()

	for number := uintptr(0); number <= unix.CAP_LAST_CAP; number++ {
		if slices.Contains(kept, number) {
			continue
		}

		// Older kernels know fewer capabilities: what they do not know nobody can have.
		if err := unix.Prctl(unix.PR_CAPBSET_DROP, number, 0, 0, 0); err != nil && err != unix.EINVAL {
			return fmt.Errorf("drop capability %d: %w", number, err)
		}
	}

	return nil
}

func attributes(m manifest.Manifest, cgroup *os.File) *syscall.SysProcAttr {
	attr := &syscall.SysProcAttr{Setpgid: true}

	if os.Getuid() == 0 {
		attr.Credential = &syscall.Credential{Uid: m.User, Gid: m.User}

		if m.Serves() {
			attr.Credential.Groups = []uint32{Group}
		}
	}

	// Root gets its capabilities from the bounding set, others keep theirs over the exec only as ambient ones.
	if m.User != 0 {
		attr.AmbientCaps = available(m.CapabilityNumbers())
	}

	if cgroup != nil {
		attr.UseCgroupFD, attr.CgroupFD = true, int(cgroup.Fd())
	}

	return attr
}

// available are the capabilities that init may hand on: a node in a sandbox has not all of them.
func available(numbers []uintptr) []uintptr {
	return slices.DeleteFunc(numbers, func(number uintptr) bool {
		has, err := unix.PrctlRetInt(unix.PR_CAPBSET_READ, number, 0, 0, 0)

		return err != nil || has != 1
	})
}
