package process

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/dactyl-os/dactyl/services/kit/kittest"
	"github.com/dactyl-os/dactyl/services/kit/mountinfo"
)

// groups makes a tree of its own below the host's cgroup v2.
func groups(t *testing.T) *Cgroups {
	t.Helper()

	text, err := os.ReadFile(mountinfo.Path)
	if err != nil {
		t.Fatal(err)
	}

	mounts := mountinfo.Parse(string(text))

	at := slices.IndexFunc(mounts, func(m mountinfo.Mount) bool { return m.Type == "cgroup2" })
	if at < 0 {
		t.Fatal("this host has no cgroup v2 tree: mount -t cgroup2 none /sys/fs/cgroup/unified")
	}

	root, err := os.MkdirTemp(mounts[at].Target, "init-test-")
	if err != nil {
		t.Fatal(err)
	}

	t.Cleanup(func() {
		if err := os.Remove(root); err != nil {
			t.Error(err)
		}
	})

	return &Cgroups{root: root}
}

// startIn runs a shell line in a group.
func startIn(t *testing.T, c *Cgroups, name, line string) *exec.Cmd {
	t.Helper()

	dir, err := c.open(name, 0, false)
	if err != nil {
		t.Fatal(err)
	}
	defer dir.Close()

	cmd := exec.CommandContext(t.Context(), "sh", "-c", line)
	cmd.SysProcAttr = &syscall.SysProcAttr{UseCgroupFD: true, CgroupFD: int(dir.Fd())}

	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}

	return cmd
}

// What is started in a group after everything in it was killed has to live.
func TestKillLeavesTheGroupUsable(t *testing.T) {
	c := groups(t)
	defer c.remove("one")

	// Children that are no longer in the shell's process group, and one in a group below.
	first := startIn(t, c, "one", fmt.Sprintf("setsid sleep 100 & setsid sleep 100 & mkdir -p %[1]s; sleep 100 & echo $! >%[1]s/cgroup.procs; wait",
		filepath.Join(c.root, "one", delegated)))

	dir := filepath.Join(c.root, "one")
	kittest.Await(t, 10*time.Second, "four processes in the group", func() bool { return len(processesOf(dir)) == 4 })

	c.kill("one")

	if err := first.Wait(); err == nil || !strings.Contains(err.Error(), "killed") {
		t.Errorf("the first ended with %v", err)
	}

	if err := startIn(t, c, "one", "exit 3").Wait(); err == nil || err.Error() != "exit status 3" {
		t.Errorf("the second ended with %v", err)
	}

	kittest.Await(t, 10*time.Second, "an empty group", func() bool { return len(processesOf(dir)) == 0 })
}
