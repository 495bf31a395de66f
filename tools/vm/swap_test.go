package vm

import (
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/dactyl-os/dactyl/tools/internal/outside"
)

// swapLimit is what a swapped image may take on two cores; twice that here, where other builds may run beside.
const swapLimit = time.Minute

// TestSwappedDaemon goes through the steps of rootfs/README.md: another networkd is built, put into an image of its own
// and booted. It says that it is another build, and the network is up.
func TestSwappedDaemon(t *testing.T) {
	networkd, out := filepath.Join(t.TempDir(), "networkd"), filepath.Join(t.TempDir(), "image")
	repository(t, "env", "CGO_ENABLED=0", "go", "build", "-trimpath",
		"-ldflags", "-s -w -X github.com/dactyl-os/dactyl/services/kit/version.Tag=v1.8.4+mine", "-o", networkd, "./services/networkd/cmd/networkd")

	begin := time.Now()
	repository(t, "make", "initramfs", "SWAP=networkd="+networkd, "OUT="+out)

	took := time.Since(begin).Round(time.Second)
	t.Logf("an image with another networkd took %s", took)

	if took > 2*swapLimit {
		t.Errorf("an image with another networkd took %s, want at most %s on two cores of its own", took, swapLimit)
	}

	n := start(t, "--initrd-path", filepath.Join(out, "initramfs-amd64.xz")).nodes[0]
	tags := daemonTags(t, n)

	if tags["networkd"] != "v1.8.4+mine" || len(tags) < 9 {
		t.Errorf("versions of the daemons: %v", tags)
	}

	for daemon, tag := range tags {
		if daemon != "networkd" && tag != tags["init"] {
			t.Errorf("%s is of %s, init of %s", daemon, tag, tags["init"])
		}
	}

	if log := n.ctl(t, "service", "networkd"); !strings.Contains(log, "version v1.8.4+mine") {
		t.Errorf("its events do not say which build it is:\n%s", log)
	}

	if addresses := n.ctl(t, "get", "addresses"); !strings.Contains(addresses, n.Address+"/24") {
		t.Errorf("%s is not among the addresses:\n%s", n.Address, addresses)
	}
}

// repository runs a command in the root of the repository; what compiles everything anew takes its time.
func repository(t *testing.T, command ...string) {
	t.Helper()

	cmd := exec.CommandContext(t.Context(), command[0], command[1:]...)
	cmd.Dir = outside.Repository()

	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("$ %s\n%s%v", strings.Join(command, " "), out, err)
	}
}

// daemonTags reads `version --daemons`.
func daemonTags(t *testing.T, n *node) map[string]string {
	t.Helper()

	tags := map[string]string{}

	for i, line := range strings.Split(strings.TrimSpace(n.ctl(t, "version", "--daemons")), "\n") {
		var node, daemon, tag, sha string
		if _, err := fmt.Sscan(line, &node, &daemon, &tag, &sha); err != nil {
			t.Fatalf("line %d: %q: %v", i, line, err)
		}

		if i > 0 {
			tags[daemon] = tag
		}
	}

	return tags
}
