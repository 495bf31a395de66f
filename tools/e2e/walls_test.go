package e2e

import (
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// TestOrdinaryProcessIsRefused puts a process without rights into a node and lets it call every daemon's socket.
func TestOrdinaryProcessIsRefused(t *testing.T) {
	program := filepath.Join(t.TempDir(), "ordinary")
	build := exec.CommandContext(t.Context(), "go", "build", "-o", program, "./ordinary")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	file, err := os.Open(program)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()

	init := awaitPID(t, netns(t, worker), "init")
	// The node holds no such program: it is run from the open file, after entering the node's namespaces.
	arguments := []string{"--target", strconv.Itoa(init), "--mount", "--net", "--pid", "/proc/self/fd/3"}
	names := []string{"init", "gateway", "configd", "hostd", "networkd", "trustd", "discoveryd", "timed"}
	for _, name := range names {
		arguments = append(arguments, "/run/dactyl/"+name+".sock")
	}
	cmd := exec.CommandContext(t.Context(), "nsenter", arguments...)
	cmd.ExtraFiles = []*os.File{file}
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if refused := strings.Count(string(out), " refused: "); refused != len(names) {
		t.Errorf("%d of %d sockets refused an ordinary process:\n%s", refused, len(names), out)
	}
	t.Logf("%s", out)
}
