package cluster

import (
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/dactyl-os/dactyl/services/kit/cgroup"
)

// cgroupRoot finds the host's cgroup v2 tree, by which the daemons of a node know each other. No controller has to be in it,
// so hosts that use v1 have one too: where it is not mounted, a mount that only this process has makes it.
var cgroupRoot = sync.OnceValues(func() (string, error) {
	if root, err := cgroup.Dir("/"); err == nil {
		return root, nil
	}

	mount, err := mountCgroup()
	if err != nil {
		return "", fmt.Errorf("nodes need a cgroup v2 tree, which this host has not mounted and cannot mount: %w", err)
	}

	return fmt.Sprintf("/proc/self/fd/%d", mount), nil
})

// mountCgroup gives a mount of the tree that is nowhere in the file system and ends with this process.
func mountCgroup() (int, error) {
	fs, err := unix.Fsopen("cgroup2", unix.FSOPEN_CLOEXEC)
	if err != nil {
		return 0, err
	}
	defer unix.Close(fs)

	if err := unix.FsconfigCreate(fs); err != nil {
		return 0, err
	}

	return unix.Fsmount(fs, unix.FSMOUNT_CLOEXEC, unix.MOUNT_ATTR_NOSUID|unix.MOUNT_ATTR_NODEV|unix.MOUNT_ATTR_NOEXEC)
}

// cgroup is the node's group; all its processes stay below it.
func (m *Machine) cgroup() (string, error) {
	root, err := cgroupRoot()

	return filepath.Join(root, m.cluster.Bridge, m.Name), err
}

// openCgroup makes the node's group.
func (m *Machine) openCgroup() (*os.File, error) {
	dir, err := m.cgroup()
	if err != nil {
		return nil, err
	}

	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, fmt.Errorf("make the node's cgroup: %w", err)
	}

	return os.Open(dir)
}

// emptyCgroup kills what is left of the node and removes its group.
func (m *Machine) emptyCgroup(limit time.Duration) error {
	dir, err := m.cgroup()
	if err != nil {
		return nil //nolint:nilerr // where none can be made there is none
	}

	_ = os.WriteFile(filepath.Join(dir, "cgroup.kill"), []byte("1"), 0)

	for deadline := time.Now().Add(limit); ; time.Sleep(5 * time.Millisecond) {
		err := cgroup.Remove(dir)
		if err == nil {
			_ = os.Remove(filepath.Dir(dir)) // the cluster's, once its last node is gone

			return nil
		}

		if time.Now().After(deadline) {
			return fmt.Errorf("empty cgroup: %w", err)
		}
	}
}
