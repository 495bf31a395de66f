package process

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/dactyl-os/dactyl/services/kit/kittest"
)

// groups makes a tree of its own.
func groups(t *testing.T) *Cgroups {
	t.Helper()
	kittest.RequireRoot(t)

	return &Cgroups{root: kittest.Cgroup(t, "node")}
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

// init's own usage is its group's, not that of all below.
func TestUsageOfWhatOnlyHasALog(t *testing.T) {
	c := groups(t)
	defer c.remove("init")
	defer c.remove("one")

	if err := os.Mkdir(filepath.Join(c.root, "init"), 0o755); err != nil {
		t.Fatal(err)
	}

	if err := startIn(t, c, "one", "i=0; while [ $i -lt 100000 ]; do i=$((i+1)); done").Wait(); err != nil {
		t.Fatal(err)
	}

	r := &Runner{cgroups: c, root: "/", daemons: map[string]*daemon{}}
	r.AddLog("init", nil)

	if usage, err := r.Usage("init", os.Getpid()); err != nil || usage.CPU != 0 {
		t.Errorf("usage of an empty group: %v, %v", usage.CPU, err)
	}
}
