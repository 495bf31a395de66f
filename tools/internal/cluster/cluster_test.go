package cluster_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/spf13/cobra"

	"github.com/dactyl-os/dactyl/services/kit/kittest"
	"github.com/dactyl-os/dactyl/tools/internal/cluster"
	"github.com/dactyl-os/dactyl/tools/internal/cluster/command"
)

// TestMain lets the test binary be the supervisor and the boot of nodes, as dactylctl is.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == "cluster" {
		root := &cobra.Command{Use: "dactylctl", SilenceUsage: true, SilenceErrors: true}
		root.AddCommand(command.New())

		if err := root.ExecuteContext(context.Background()); err != nil {
			fmt.Fprintln(os.Stderr, "error:", err)
			os.Exit(1)
		}

		os.Exit(0)
	}

	os.Exit(m.Run())
}

// host is what a cluster could leave on the host.
func host(t *testing.T, dir, link string) string {
	t.Helper()

	var lines []string

	for _, args := range [][]string{{"ip", "-o", "link"}, {"ip", "-o", "addr"}, {"mount"}, {"ps", "-eo", "args"}} {
		out, err := exec.CommandContext(t.Context(), args[0], args[1:]...).Output()
		if err != nil {
			t.Fatalf("%v: %v", args, err)
		}

		for line := range strings.Lines(string(out)) {
			// Other tests work beside this one, in namespaces and clusters of other names.
			mine := strings.Contains(line, "10.231.") || strings.Contains(line, dir)
			if mine || args[0] == "mount" && !strings.Contains(line, "/run/netns") {
				lines = append(lines, args[0]+" "+line)
			}
		}
	}

	for _, pattern := range []string{"/run/netns/prov*", "/sys/fs/cgroup/*/*/prov-*", "/sys/fs/cgroup/*/prov-*", "/sys/class/net/" + link} {
		paths, _ := filepath.Glob(pattern)
		for _, path := range paths {
			lines = append(lines, path+"\n")
		}
	}

	slices.Sort(lines)

	return strings.Join(lines, "")
}

// spec makes nodes whose only daemon is init: what the provisioner owes does not depend on the others.
func spec(t *testing.T, cidr string) cluster.Spec {
	t.Helper()
	kittest.RequireRoot(t)

	dir := t.TempDir()
	binaries, manifests := filepath.Join(dir, "bin"), filepath.Join(dir, "manifests")

	if err := errors.Join(os.Mkdir(binaries, 0o755), os.Mkdir(manifests, 0o755)); err != nil {
		t.Fatal(err)
	}

	build := exec.CommandContext(t.Context(), "go", "build", "-trimpath", "-o", filepath.Join(binaries, "init"), "./cmd/init")
	build.Dir = "../../../services/init"
	build.Env = append(os.Environ(), "CGO_ENABLED=0", "GOWORK=off")

	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build init: %v\n%s", err, out)
	}

	return cluster.Spec{
		Name: "prov", CIDR: cidr, StateDir: filepath.Join(dir, "state"), ClientConfig: filepath.Join(dir, "home", "config"),
		Binaries: binaries, Manifests: manifests, ControlPlanes: 1, NoWait: true,
	}
}

func create(t *testing.T, s cluster.Spec) (*cluster.Cluster, *cluster.Machine) {
	t.Helper()

	c, err := cluster.Create(t.Context(), s, t.Output())
	if err != nil {
		t.Fatal(err)
	}

	t.Cleanup(func() { _ = cluster.Destroy(context.Background(), s.StateDir, s.Name, t.Output()) })

	m := c.Machines()[0]
	kittest.AwaitNoError(t, 20*time.Second, func() error {
		_, err := m.PID("init")

		return err
	})

	return c, m
}

func TestDestroyLeavesNothing(t *testing.T) {
	s := spec(t, "10.231.1.0/24")
	before := host(t, s.StateDir, "none")
	c, m := create(t, s)

	if out, err := m.Exec(t.Context(), "ip", "-br", "link"); err != nil || !strings.Contains(out, "eth0") {
		t.Errorf("ip netns exec: %v\n%s", err, out)
	}

	// Created again it is only looked at.
	start := time.Now()
	if _, err := cluster.Create(t.Context(), s, t.Output()); err != nil || time.Since(start) > 2*time.Second {
		t.Errorf("second create: %v after %s", err, time.Since(start))
	}

	if err := cluster.Destroy(t.Context(), s.StateDir, s.Name, t.Output()); err != nil {
		t.Fatal(err)
	}

	if after := host(t, s.StateDir, c.Bridge); after != before {
		t.Errorf("before:\n%s\nafter:\n%s", before, after)
	}

	for _, path := range []string{s.StateDir, s.ClientConfig} {
		if _, err := os.Stat(path); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s is left: %v", path, err)
		}
	}
}

// TestSupervisorKilled: the node dies with its hardware, create brings it back, destroy cleans up after either.
func TestSupervisorKilled(t *testing.T) {
	s := spec(t, "10.231.2.0/24")
	before := host(t, s.StateDir, "none")
	c, m := create(t, s)

	init, err := m.InitPID()
	if err != nil {
		t.Fatal(err)
	}

	killSupervisor(t, m)
	kittest.Await(t, 5*time.Second, "the node's death", func() bool { return syscall.Kill(init, 0) != nil })

	if condition := m.Condition(); condition != cluster.Lost {
		t.Errorf("condition %q", condition)
	}

	if _, err := cluster.Create(t.Context(), s, t.Output()); err != nil {
		t.Fatal(err)
	}

	kittest.Await(t, 10*time.Second, "the node again", func() bool {
		pid, err := m.InitPID()

		return err == nil && pid != init
	})

	killSupervisor(t, m)

	if err := cluster.Destroy(t.Context(), s.StateDir, s.Name, t.Output()); err != nil {
		t.Fatal(err)
	}

	if after := host(t, s.StateDir, c.Bridge); after != before {
		t.Errorf("before:\n%s\nafter:\n%s", before, after)
	}
}

// TestCreateKilled ends the command at several moments; destroy finds whatever it had made.
func TestCreateKilled(t *testing.T) {
	s := spec(t, "10.231.5.0/24")
	before := host(t, s.StateDir, "none")

	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}

	for _, delay := range []time.Duration{20, 60, 120, 250, 600} {
		cmd := exec.CommandContext(t.Context(), self, "cluster", "create", "--name", s.Name, "--cidr", s.CIDR, "--state", s.StateDir,
			"--talosconfig", s.ClientConfig, "--binaries", s.Binaries, "--manifests", s.Manifests, "--workers", "1")
		cmd.Stdout, cmd.Stderr = t.Output(), t.Output()

		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}

		kill := time.AfterFunc(delay*time.Millisecond, func() { _ = cmd.Process.Kill() })
		_ = cmd.Wait()

		kill.Stop()

		if err := cluster.Destroy(t.Context(), s.StateDir, s.Name, t.Output()); err != nil {
			t.Fatal(err)
		}

		if after := host(t, s.StateDir, "none"); after != before {
			t.Errorf("killed after %s ms, before:\n%s\nafter:\n%s", delay, before, after)
		}

		if _, err := os.Stat(s.ClientConfig); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s is left: %v", s.ClientConfig, err)
		}
	}
}

func killSupervisor(t *testing.T, m *cluster.Machine) {
	t.Helper()

	pid, err := m.SupervisorPID()
	if err != nil {
		t.Fatal(err)
	}

	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}

	kittest.Await(t, 5*time.Second, "the supervisor's death", func() bool { return m.Condition() != cluster.Running })
}

// TestPower: a killed init is a power cut and boots again with another boot id; the power button switches off.
func TestPower(t *testing.T) {
	s := spec(t, "10.231.3.0/24")
	_, m := create(t, s)

	boot, err := m.BootID()
	if err != nil {
		t.Fatal(err)
	}

	old, err := m.InitPID()
	if err != nil {
		t.Fatal(err)
	}

	if err := m.Kill("init"); err != nil {
		t.Fatal(err)
	}

	kittest.Await(t, 10*time.Second, "the next boot", func() bool {
		pid, err := m.PID("init")
		id, _ := m.BootID()

		return err == nil && pid != old && id != boot
	})

	id, err := m.BootID()
	if err != nil {
		t.Fatal(err)
	}

	pid, err := m.InitPID()
	if err != nil {
		t.Fatal(err)
	}

	shown, err := os.ReadFile(fmt.Sprintf("/proc/%d/root/proc/sys/kernel/random/boot_id", pid))
	if err != nil || strings.TrimSpace(string(shown)) != id {
		t.Errorf("the node shows boot id %q, %v, its record %q", shown, err, id)
	}

	if err := m.PowerOff(); err != nil {
		t.Fatal(err)
	}

	if condition := m.Condition(); condition != cluster.Off {
		t.Errorf("condition %q", condition)
	}
}

func TestRefusals(t *testing.T) {
	s := spec(t, "10.231.4.0/24")

	for name, tc := range map[string]struct {
		change func(*cluster.Spec)
		want   string
	}{
		"no control plane": {func(s *cluster.Spec) { s.ControlPlanes = 0 }, "at least one control plane"},
		"too many":         {func(s *cluster.Spec) { s.CIDR, s.Workers = "10.231.4.0/29", 9 }, "has room for 5 nodes, 10 are asked for"},
		"bad name":         {func(s *cluster.Spec) { s.Name = "Über" }, "lower case letters"},
		"bad network":      {func(s *cluster.Spec) { s.CIDR = "10.5.0.0" }, "--cidr"},
		"inner network":    {func(s *cluster.Spec) { s.CIDR = "10.99.2.0/24" }, "overlaps 10.96.0.0/12"},
		"bad patch":        {func(s *cluster.Spec) { s.Patches = []string{"machine: {netwrk: {}}"} }, "netwrk"},
		"no binaries":      {func(s *cluster.Spec) { s.Binaries = "/nowhere" }, "make build"},
	} {
		t.Run(name, func(t *testing.T) {
			changed := s
			tc.change(&changed)

			_, err := cluster.Create(t.Context(), changed, t.Output())
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("got %v, want %q", err, tc.want)
			}

			if _, err := cluster.Load(changed.StateDir, changed.Name); !errors.Is(err, cluster.ErrNone) {
				t.Errorf("a cluster is left: %v", err)
			}
		})
	}
}
