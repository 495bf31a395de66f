package process

import (
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/dactyl-os/dactyl/services/init/internal/manifest"
	"github.com/dactyl-os/dactyl/services/kit/cgroup"
)

// own is the group of init itself.
const own = "init"

// Cgroups is the tree in which each daemon has a group of its own, by which the others know it. A nil *Cgroups does nothing,
// in tests that call no daemon.
type Cgroups struct {
	root   string
	memory bool
}

// OpenCgroups makes the tree in the group that init was started in, with a group of its own for init and one for root's tools.
// limits says why daemons' memory cannot be limited.
func OpenCgroups() (c *Cgroups, limits, err error) {
	place, err := cgroup.Of("self")
	if err != nil {
		return nil, nil, err
	}

	if path.Base(place) == own {
		place = path.Dir(place)
	}

	root, err := cgroup.Dir(place)
	if err != nil {
		return nil, nil, err
	}

	// Controllers reach the daemons' groups only when no process is left in the group above them.
	for _, name := range []string{own, cgroup.Root} {
		group, err := cgroup.Make(filepath.Join(root, name))
		if err != nil {
			return nil, nil, err
		}

		group.Close()
	}

	if err := cgroup.Enter(filepath.Join(root, own)); err != nil {
		return nil, nil, err
	}

	c = &Cgroups{root: root}

	if err := os.WriteFile(filepath.Join(root, "cgroup.subtree_control"), []byte("+memory"), 0); err != nil {
		return c, fmt.Errorf("no memory controller: %w", err), nil
	}

	c.memory = true

	return c, nil, nil
}

// groupOf names a daemon's group. Programs that are not ours have names by which nobody knows them.
func groupOf(m manifest.Manifest) string {
	if m.Serves() {
		return m.Name
	}

	return m.Name + cgroup.Foreign
}

// delegated is the group of a process to which all others below its daemon's group are left.
const delegated = "main"

// open makes a daemon's group with its limit and opens it for clone3; nil when there is none.
func (c *Cgroups) open(name string, memory int64, delegate bool) (*os.File, error) {
	if c == nil {
		return nil, nil
	}

	if name == own || name == cgroup.Root {
		return nil, fmt.Errorf("a service cannot be called %s: that is the cgroup of init or of root's own tools", name)
	}

	dir := filepath.Join(c.root, name)
	if delegate {
		// Once it uses controllers further down, the kernel takes no process into the group itself.
		dir = filepath.Join(dir, delegated)
	}

	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, fmt.Errorf("make cgroup: %w", err)
	}

	if c.memory && memory > 0 {
		if err := os.WriteFile(filepath.Join(dir, "memory.max"), []byte(strconv.FormatInt(memory, 10)), 0); err != nil {
			return nil, fmt.Errorf("limit memory: %w", err)
		}
	}

	return os.Open(dir)
}

// kill ends everything in a daemon's group, one process at a time: after a word to cgroup.kill kernels (6.18 is one) kill each
// process that clone3 makes in the group from then on.
func (c *Cgroups) kill(name string) {
	if c == nil {
		return
	}

	killed := map[int]bool{}

	for range killRounds {
		fresh := slices.DeleteFunc(processesOf(filepath.Join(c.root, name)), func(pid int) bool { return killed[pid] })
		if len(fresh) == 0 {
			return
		}

		for _, pid := range fresh {
			killed[pid] = true

			_ = syscall.Kill(pid, syscall.SIGKILL)
		}
	}
}

// killRounds are more than a program that forks all the time needs to be caught up with.
const killRounds = 1000

// processesOf lists the processes of a group and of those below it.
func processesOf(dir string) []int {
	var pids []int

	_ = filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.Name() != "cgroup.procs" {
			return nil //nolint:nilerr // a group that goes away has no processes
		}

		data, _ := os.ReadFile(path) // as above

		for line := range strings.Lines(string(data)) {
			if pid, err := strconv.Atoi(strings.TrimSpace(line)); err == nil && pid > 0 {
				pids = append(pids, pid)
			}
		}

		return nil
	})

	return pids
}

// remove gives up a daemon's group; one that still holds processes stays.
func (c *Cgroups) remove(name string) {
	if c != nil {
		_ = os.Remove(filepath.Join(c.root, name, delegated))
		_ = os.Remove(filepath.Join(c.root, name))
	}
}

// cpuUsage is the processor time that a daemon's group has used in this boot, its helpers' and earlier processes' with it;
// false when nothing counts it. The kernel counts it to the microsecond, while /proc knows ticks.
func (c *Cgroups) cpuUsage(name string) (time.Duration, bool) {
	if c == nil {
		return 0, false
	}

	data, err := os.ReadFile(filepath.Join(c.root, name, "cpu.stat"))
	if err != nil {
		return 0, false
	}

	for line := range strings.Lines(string(data)) {
		if text, found := strings.CutPrefix(line, "usage_usec "); found {
			value, err := strconv.ParseInt(strings.TrimSpace(text), 10, 64)

			return time.Duration(value) * time.Microsecond, err == nil
		}
	}

	return 0, false
}
