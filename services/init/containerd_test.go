package initd_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	initv1 "github.com/dactyl-os/dactyl/proto/local/dactyl/init/v1"
	"github.com/dactyl-os/dactyl/services/kit/cgroup"
	"github.com/dactyl-os/dactyl/services/kit/kittest"
)

// containerdConfig keeps Debian's containerd to a directory of the test's.
const containerdConfig = `version = 2
root = %[1]q
state = %[2]q
disabled_plugins = ["io.containerd.grpc.v1.cri"]
[grpc]
  address = %[3]q
[ttrpc]
  address = %[4]q
`

// TestContainerdIsAUnit: a daemon of somebody else's is known by its own health service, and what it cannot hide is a hang.
func TestContainerdIsAUnit(t *testing.T) {
	program, err := exec.LookPath("containerd")
	if err != nil {
		t.Skip("SKIP: no containerd: make prepare installs it")
	}

	m := newMachine(t)
	below := func(name string) string { return filepath.Join(m.root, name) }
	config := fmt.Sprintf(containerdConfig, below("c/root"), below("c/state"), below("c.sock"), below("c.ttrpc"))

	if err := os.WriteFile(below("config.toml"), []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}

	m.fake("extd", "define", "defines: [containerd]\ngrants: {all: what containers may have}\n")
	m.boot()
	m.await("extd", "Running")

	no := false
	unit := &initv1.Unit{
		Name: "containerd", Command: []string{program, "--config", below("config.toml")}, Socket: "none", Kill: "process", Delegate: true,
		NoNewPrivs: &no, Capabilities: []string{"all"}, Ready: &initv1.Probe{Grpc: below("c.sock")}, Hang: "8s", Stop: "1s",
	}
	define(t, m.definer("extd"), unit, initv1.DefineResponse_ADDED)
	m.await("containerd", "Running")
	m.kill("extd")
	healthy := func() bool { return m.service("containerd").GetHealth().GetHealthy() }
	kittest.Await(t, 20*time.Second, "containerd is healthy", healthy)

	first := m.processOf(program)
	for _, want := range []string{"NoNewPrivs:\t0", "CapBnd:\t" + bounding(t)} {
		if data, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", first)); err != nil || !strings.Contains(string(data), want) {
			t.Errorf("containerd lacks %q: %v", want, err)
		}
	}

	if place, err := cgroup.Of(strconv.Itoa(first)); err != nil || !strings.HasSuffix(place, "/containerd"+cgroup.Foreign+"/main") {
		t.Errorf("containerd is in the cgroup %q, %v: what it starts would be known as a daemon", place, err)
	}

	if err := syscall.Kill(first, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}

	kittest.Await(t, 20*time.Second, "another containerd", func() bool { return m.processOf(program) != first })
	m.await("containerd", "Running")
	kittest.Await(t, 20*time.Second, "containerd is healthy again", healthy)

	kittest.Freeze(t, m.processOf(program))

	kittest.Await(t, 15*time.Second, "it is shown as not healthy", func() bool { return !healthy() })
	m.awaitMessage("containerd", "was ended (killed)")
	kittest.Await(t, 20*time.Second, "containerd is healthy after that", healthy)
}

// bounding is the test's own bounding set, which `all` leaves as it is.
func bounding(t *testing.T) string {
	t.Helper()

	data, err := os.ReadFile("/proc/self/status")
	if err != nil {
		t.Fatal(err)
	}

	_, rest, _ := strings.Cut(string(data), "CapBnd:\t")
	set, _, _ := strings.Cut(rest, "\n")

	return set
}

// processOf finds a child of this init by its program, from outside.
func (m *machineUnderTest) processOf(program string) int {
	m.t.Helper()

	found := 0

	kittest.Await(m.t, 20*time.Second, "process of "+program, func() bool {
		for _, pid := range childrenOf(m.cmd.Process.Pid) {
			if exe, err := os.Readlink(fmt.Sprintf("/proc/%d/exe", pid)); err == nil && exe == program {
				found = pid

				return true
			}
		}

		return false
	})

	return found
}
