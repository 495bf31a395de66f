package e2e

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/cosi-project/runtime/api/v1alpha1"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"

	"github.com/dactyl-os/dactyl/services/kit/kittest"
	"github.com/dactyl-os/dactyl/services/kit/kittest/door"
	"github.com/dactyl-os/dactyl/tools/internal/outside"
)

// TestStrangersAreRefused puts processes into a node that init did not start, and lets them call every daemon's socket: one
// without rights, and one of root's in a mount and PID namespace of its own, as a container that has the run directory.
func TestStrangersAreRefused(t *testing.T) {
	program := filepath.Join(t.TempDir(), "stranger")
	build := exec.CommandContext(t.Context(), "go", "build", "-o", program, "./stranger")
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
	names := []string{"init", "gateway", "configd", "hostd", "networkd", "trustd", "discoveryd", "timed"}
	for who, why := range map[string]string{"ordinary": "permission denied", "container": "is none of this node's daemons"} {
		t.Run(who, func(t *testing.T) {
			// The node holds no such program: it is run from the open file, after entering the node's namespaces.
			arguments := append([]string{"--target", strconv.Itoa(init), "--mount", "--net", "--pid", "/proc/self/fd/3", who}, names...)
			cmd := exec.CommandContext(t.Context(), "nsenter", arguments...)
			cmd.ExtraFiles = []*os.File{file}
			out, err := cmd.CombinedOutput()
			if err != nil {
				t.Fatalf("%v\n%s", err, out)
			}
			if refused := strings.Count(string(out), why); refused != len(names) {
				t.Errorf("%d of %d daemons refused it:\n%s", refused, len(names), out)
			}
			t.Logf("%s", out)
		})
	}
}

// TestRootsToolsHaveOneWayIn: what root puts into the cgroup for it may ask a daemon.
func TestRootsToolsHaveOneWayIn(t *testing.T) {
	inside, err := outside.OpenDoor(t.Context(), worker, outside.RootsTools, kittest.Build(t, door.Command))
	if err != nil {
		t.Fatal(err)
	}
	defer inside.Close()
	conn, err := inside.Conn("hostd")
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	if _, err := grpc_health_v1.NewHealthClient(conn).Check(ctx, &grpc_health_v1.HealthCheckRequest{}); err != nil {
		t.Error(err)
	}
}

// TestNobodyOutsideWritesResources: not even an administrator, as the contract has it.
func TestNobodyOutsideWritesResources(t *testing.T) {
	client := v1alpha1.NewStateClient(dial(t, controlPlanes[0], false))
	ctx, cancel := context.WithTimeout(outside.Node(t.Context(), worker), 30*time.Second)
	defer cancel()
	const typ = "MachineTypes.config.talos.dev"
	current, err := client.Get(ctx, &v1alpha1.GetRequest{Namespace: "config", Type: typ, Id: "machine-type"})
	if err != nil {
		t.Fatal(err)
	}
	for verb, write := range map[string]func() error{
		"create": func() error {
			_, err := client.Create(ctx, &v1alpha1.CreateRequest{Resource: current.GetResource()})

			return err
		},
		"update": func() error {
			_, err := client.Update(ctx, &v1alpha1.UpdateRequest{NewResource: current.GetResource()})

			return err
		},
		"destroy": func() error {
			_, err := client.Destroy(ctx, &v1alpha1.DestroyRequest{Namespace: "config", Type: typ, Id: "machine-type"})

			return err
		},
	} {
		if err := write(); status.Code(err) != codes.PermissionDenied || !strings.Contains(err.Error(), "write access is not allowed") {
			t.Errorf("%s gives %v", verb, err)
		}
	}
	if _, err := client.Get(ctx, &v1alpha1.GetRequest{Namespace: "config", Type: typ, Id: "machine-type"}); err != nil {
		t.Errorf("it is gone: %v", err)
	}
}
