package kittest

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/dactyl-os/dactyl/services/kit/cgroup"
)

// tree is the cgroup of this test process's daemons, below that in which it was started. As long as a test uses it, the test
// process is in it too, as one of root's own tools.
var tree struct {
	mu     sync.Mutex
	users  int
	before string
	dir    string
}

const treePrefix = "kittest-"

// Cgroup gives the directory of the group by which daemons know a process called name; it ends with the test, and all that
// is left in it. The test itself is one of root's own tools from now on. "" without root, who alone can make groups: then
// daemons take processes of the same user for that.
func Cgroup(t testing.TB, name string) string {
	t.Helper()

	if os.Geteuid() != 0 {
		return ""
	}

	tree.mu.Lock()
	defer tree.mu.Unlock()

	if tree.users == 0 {
		if err := enterTree(); err != nil {
			t.Fatalf("make cgroups for daemons: %v", err)
		}
	}

	tree.users++

	t.Cleanup(func() { leaveTree(t) })

	group, err := cgroup.Make(filepath.Join(tree.dir, name))
	if err != nil {
		t.Fatal(err)
	}
	defer group.Close()

	return group.Name()
}

// Into has a command's process start in the group of a name, see Cgroup.
func Into(t testing.TB, cmd *exec.Cmd, name string) {
	t.Helper()

	into(cmd, openCgroup(t, name))
}

// openCgroup opens the group of a name for as long as the test runs; nil without root.
func openCgroup(t testing.TB, name string) *os.File {
	t.Helper()

	dir := Cgroup(t, name)
	if dir == "" {
		return nil
	}

	group, err := os.Open(dir)
	if err != nil {
		t.Fatal(err)
	}

	t.Cleanup(func() { group.Close() })

	return group
}

func into(cmd *exec.Cmd, group *os.File) {
	if group == nil {
		return
	}

	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{}
	}

	cmd.SysProcAttr.UseCgroupFD, cmd.SysProcAttr.CgroupFD = true, int(group.Fd())
}

func enterTree() error {
	place, err := cgroup.Of("self")
	if err != nil {
		return err
	}

	if tree.before, err = cgroup.Dir(place); err != nil {
		return err
	}

	removeDeadTrees(tree.before)

	tree.dir = filepath.Join(tree.before, fmt.Sprint(treePrefix, os.Getpid()))

	for _, dir := range []string{tree.dir, filepath.Join(tree.dir, cgroup.Root)} {
		group, err := cgroup.Make(dir)
		if err != nil {
			return err
		}

		group.Close()
	}

	return cgroup.Enter(filepath.Join(tree.dir, cgroup.Root))
}

// leaveTree removes the groups when the last test that used them has ended.
func leaveTree(t testing.TB) {
	tree.mu.Lock()
	defer tree.mu.Unlock()

	if tree.users--; tree.users > 0 {
		return
	}

	if err := cgroup.Enter(tree.before); err != nil {
		t.Error(err)
	}

	_ = os.WriteFile(filepath.Join(tree.dir, "cgroup.kill"), []byte("1"), 0) // what a daemon left behind

	AwaitNoError(t, 10*time.Second, func() error { return cgroup.Remove(tree.dir) })
}

// removeDeadTrees removes the groups of test processes that were killed.
func removeDeadTrees(dir string) {
	entries, _ := os.ReadDir(dir)

	for _, entry := range entries {
		pid, found := strings.CutPrefix(entry.Name(), treePrefix)
		if _, err := os.Stat(filepath.Join("/proc", pid)); found && errors.Is(err, fs.ErrNotExist) {
			_ = cgroup.Remove(filepath.Join(dir, entry.Name())) // one that is still used stays
		}
	}
}
