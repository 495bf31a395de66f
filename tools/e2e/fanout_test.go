package e2e

import (
	"context"
	"strings"
	"syscall"
	"testing"
	"time"

	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/types/known/emptypb"

	"github.com/dactyl-os/dactyl/proto/machine"
	"github.com/dactyl-os/dactyl/services/kit/kittest"
	"github.com/dactyl-os/dactyl/tools/internal/outside"
)

// silence stops a node's gateway without closing its sockets: the worst way to be down.
func silence(t *testing.T, node string) {
	t.Helper()
	pid := awaitPID(t, netns(t, node), "gateway")
	kittest.Freeze(t, pid)
	t.Cleanup(func() {
		_ = syscall.Kill(pid, syscall.SIGCONT)
		kittest.AwaitNoError(t, 15*time.Second, func() error {
			return outside.Dactylctl(context.Background(), "-e", controlPlanes[0], "-n", node, "version").Err
		})
	})
}

func TestFanOutWithOneNodeDown(t *testing.T) {
	for name, test := range map[string]struct{ down, why string }{
		"silent":    {down: worker},
		"not there": {down: "10.77.0.99"},
	} {
		t.Run(name, func(t *testing.T) {
			if test.down == worker {
				silence(t, worker)
			}
			targets := append(append([]string{}, controlPlanes...), test.down)
			fanOut(t, targets, test.down)

			start := time.Now()
			r := outside.Dactylctl(t.Context(), "-e", controlPlanes[0], "-n", strings.Join(targets, ","), "version", "--short")
			if r.Code == 0 {
				t.Errorf("the exit code hides that %s is down: %s", test.down, r)
			}
			if !strings.Contains(r.Stderr, test.down) {
				t.Errorf("stderr does not name %s: %s", test.down, r)
			}
			for _, node := range controlPlanes {
				if !strings.Contains(r.Stdout, node) {
					t.Errorf("the answer of %s is missing: %s", node, r)
				}
			}
			if took := time.Since(start); took > 30*time.Second {
				t.Errorf("took %s", took)
			}
		})
	}
}

func fanOut(t *testing.T, targets []string, down string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	ctx = metadata.NewOutgoingContext(ctx, metadata.MD{"nodes": targets})
	start := time.Now()
	reply, err := machine.NewMachineServiceClient(dial(t, controlPlanes[0], false)).Version(ctx, &emptypb.Empty{})
	if err != nil {
		t.Fatalf("a node that is down failed the whole call: %v", err)
	}
	t.Logf("three answers and one error after %s (deadline 20s)", time.Since(start).Round(time.Millisecond))
	answers := map[string]string{}
	for _, message := range reply.GetMessages() {
		answers[message.GetMetadata().GetHostname()] = message.GetMetadata().GetError()
	}
	for _, node := range targets {
		problem, answered := answers[node]
		switch {
		case !answered:
			t.Errorf("no message for %s in %v", node, answers)
		case node == down && problem == "":
			t.Errorf("%s is down, and its message has no error", node)
		case node != down && problem != "":
			t.Errorf("%s: %s", node, problem)
		}
	}
}

// TestAbsentDaemonIsNamed asks a worker for what only a control plane runs: the answer comes at once and names the daemon.
func TestAbsentDaemonIsNamed(t *testing.T) {
	start := time.Now()
	r := outside.Dactylctl(t.Context(), "-e", controlPlanes[0], "-n", worker, "etcd", "status")
	if r.Code == 0 || !strings.Contains(r.Stderr, "etcdd does not run on this node") {
		t.Errorf("etcdd's absence is not named: %s", r)
	}
	if took := time.Since(start); took > 5*time.Second {
		t.Errorf("took %s", took)
	}
}

// TestStoppedDaemonIsNamed: who asks a daemon that was stopped is told at once, and served once it is started again.
func TestStoppedDaemonIsNamed(t *testing.T) {
	ctl(t, "-n", worker, "get", "addresses")
	ctl(t, "-n", worker, "service", "networkd", "stop")
	start := time.Now()
	r := outside.Dactylctl(t.Context(), "-n", worker, "get", "addresses")
	if r.Code == 0 || !strings.Contains(r.Stderr, "networkd was stopped or given up on this node; see: service networkd") {
		t.Errorf("networkd's absence is not named: %s", r)
	}
	if took := time.Since(start); took > 5*time.Second {
		t.Errorf("took %s", took)
	}
	ctl(t, "-n", worker, "service", "networkd", "start")
	ctl(t, "-n", worker, "get", "addresses")
}
