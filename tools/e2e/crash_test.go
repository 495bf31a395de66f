package e2e

import (
	"bufio"
	"context"
	"fmt"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"text/tabwriter"
	"time"

	"github.com/cosi-project/runtime/api/v1alpha1"
	"google.golang.org/grpc"

	"github.com/dactyl-os/dactyl/proto/machine"
	"github.com/dactyl-os/dactyl/services/kit/kittest"
	"github.com/dactyl-os/dactyl/tools/internal/outside"
)

const (
	killsPerDaemon = 5
	// quiet is the time between two kills of a daemon, so that each meets a daemon at work and full traffic.
	quiet = 500 * time.Millisecond
)

func awaitPID(t *testing.T, namespace, daemon string) int {
	t.Helper()
	var pid int
	kittest.AwaitNoError(t, 30*time.Second, func() (err error) {
		pid, err = outside.PID(namespace, daemon)

		return err
	})

	return pid
}

func kill9(t *testing.T, pid int) {
	t.Helper()
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		t.Fatalf("kill -9 %d: %v", pid, err)
	}
}

// metaWatch follows META key 0x0c of a node with our own client, as a user would.
type metaWatch struct {
	mu    sync.Mutex
	lines []string
}

func watchMeta(t *testing.T, endpoint, target string) *metaWatch {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), outside.Repository("_out", "dactylctl"), "-e", endpoint, "-n", target, "get", "metakeys", "-w")
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	watch := &metaWatch{}
	go func() {
		for scanner := bufio.NewScanner(stdout); scanner.Scan(); {
			watch.mu.Lock()
			watch.lines = append(watch.lines, scanner.Text())
			watch.mu.Unlock()
		}
	}()
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })

	return watch
}

// values are what the watch showed, in order.
func (w *metaWatch) values() []int {
	w.mu.Lock()
	defer w.mu.Unlock()
	var values []int
	for _, line := range w.lines {
		if _, text, found := strings.Cut(line, "change-"); found {
			if value, err := strconv.Atoi(strings.Fields(text)[0]); err == nil {
				values = append(values, value)
			}
		}
	}

	return values
}

func writeMeta(t *testing.T, conn *grpc.ClientConn, target string, value int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(outside.Node(t.Context(), target), callDeadline)
	defer cancel()
	_, err := machine.NewMachineServiceClient(conn).MetaWrite(ctx, &machine.MetaWriteRequest{Key: 0x0c, Value: fmt.Appendf(nil, "change-%d", value)})
	if err != nil {
		t.Fatalf("write META: %v", err)
	}
}

// monitorAddresses reports every address that leaves an interface of the namespace.
func monitorAddresses(t *testing.T, namespace string) func() []string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "ip", "-n", namespace, "-o", "monitor", "address")
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	var deleted []string
	go func() {
		for scanner := bufio.NewScanner(stdout); scanner.Scan(); {
			if strings.HasPrefix(scanner.Text(), "Deleted") {
				mu.Lock()
				deleted = append(deleted, scanner.Text())
				mu.Unlock()
			}
		}
	}()
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })

	return func() []string {
		mu.Lock()
		defer mu.Unlock()

		return slices.Clone(deleted)
	}
}

func bootID(t *testing.T, node string) string {
	t.Helper()

	return strings.TrimSpace(ctl(t, "-n", node, "read", "/proc/sys/kernel/random/boot_id"))
}

func probe(t *testing.T, conn *grpc.ClientConn, target, daemon string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(outside.Node(t.Context(), target), callDeadline)
	defer cancel()
	kittest.AwaitNoError(t, callDeadline, func() error {
		_, err := v1alpha1.NewStateClient(conn).Get(ctx, outside.Probe(daemon))

		return err
	})
}

// unchanged gives a check that nothing of the node was lost meanwhile: its boot, addresses and etcd members.
func unchanged(t *testing.T, entry, target string) func() {
	t.Helper()
	namespace := netns(t, target)
	boot, members, addresses := bootID(t, target), etcdctlMembers(t, entry), kernelAddresses(t, namespace)
	deleted := monitorAddresses(t, namespace)

	return func() {
		t.Helper()
		if now := bootID(t, target); now != boot {
			t.Errorf("boot id changed from %s to %s", boot, now)
		}
		if gone := deleted(); len(gone) > 0 {
			t.Errorf("addresses left the interface:\n%s", strings.Join(gone, "\n"))
		}
		if now := kernelAddresses(t, namespace); !slices.Equal(now, addresses) {
			t.Errorf("addresses changed from %s to %s", addresses, now)
		}
		kittest.AwaitNoError(t, time.Minute, func() error {
			result := outside.Run(t.Context(), "etcdctl", append(etcdPKI(t, target), "endpoint", "health")...)

			return result.Err
		})
		if now := etcdctlMembers(t, entry); !slices.Equal(now, members) {
			t.Errorf("etcd members changed from %s to %s", members, now)
		}
	}
}

// disturb runs one way of taking a daemon away, killsPerDaemon times for each daemon, under load, and holds the promise.
func disturb(t *testing.T, title string, away func(t *testing.T, namespace, target, daemon string)) {
	entry, target := controlPlanes[0], controlPlanes[1]
	namespace := netns(t, target)
	check := unchanged(t, entry, target)
	control := dial(t, entry, true)
	watch := watchMeta(t, entry, target)

	var table strings.Builder
	columns := tabwriter.NewWriter(&table, 0, 0, 3, ' ', 0)
	fmt.Fprintln(columns, "DAEMON\tRECOVERY MS\tCALLS\tFAILED\tSLOWEST MS")
	change := int(time.Now().Unix()) * 1000
	for _, daemon := range outside.Daemons() {
		traffic := startLoad(dial(t, entry, daemon == "gateway"), target, callsPerSecond, nil)
		var recoveries []time.Duration
		for range killsPerDaemon {
			time.Sleep(quiet)
			start := time.Now()
			away(t, namespace, target, daemon)
			probe(t, control, target, daemon)
			recoveries = append(recoveries, time.Since(start))

			change++
			writeMeta(t, control, target, change)
			kittest.AwaitNoError(t, 10*time.Second, func() error {
				if !slices.Contains(watch.values(), change) {
					return fmt.Errorf("%s: the watch has not shown change-%d", daemon, change)
				}

				return nil
			})
		}
		traffic.stop()
		slices.Sort(recoveries)
		fmt.Fprintf(columns, "%s\t%d\t%d\t%d\t%d\n", daemon, recoveries[len(recoveries)/2].Milliseconds(),
			traffic.calls.Load(), traffic.failed.Load(), time.Duration(traffic.slowest.Load()).Milliseconds())
		if traffic.failed.Load() > 0 {
			t.Errorf("%s: %d of %d calls failed: %v", daemon, traffic.failed.Load(), traffic.calls.Load(), traffic.errors)
		}
	}
	columns.Flush()
	fmt.Printf("%s\n%s", title, table.String())

	if values := watch.values(); !slices.IsSorted(values) {
		t.Errorf("the watch went back in time: %v", values)
	}
	check()
}

func TestCrashMatrix(t *testing.T) {
	disturb(t, "kill -9 of each daemon", func(t *testing.T, namespace, _, daemon string) {
		kill9(t, awaitPID(t, namespace, daemon))
	})
}

func TestRestartMatrix(t *testing.T) {
	disturb(t, "service NAME restart of each daemon", func(t *testing.T, _, target, daemon string) {
		ctl(t, "-e", controlPlanes[0], "-n", target, "service", daemon, "restart")
	})
}

// TestKillInit shows that the death of init is the node's reboot: a new boot id, and the same node after it.
func TestKillInit(t *testing.T) {
	target := controlPlanes[2]
	namespace := netns(t, target)
	boot, identity := bootID(t, target), ctl(t, "-n", target, "get", "identities", "-o", "jsonpath={.spec.nodeId}")
	members := etcdctlMembers(t, controlPlanes[0])
	start := time.Now()
	kill9(t, awaitPID(t, namespace, "init"))
	kittest.AwaitNoError(t, time.Minute, func() error {
		result := outside.Dactylctl(t.Context(), "-e", target, "-n", target, "read", "/proc/sys/kernel/random/boot_id")
		if result.Err != nil || strings.TrimSpace(result.Stdout) == boot {
			return fmt.Errorf("the node is not back: %s", result)
		}

		return nil
	})
	fmt.Printf("kill -9 of init: node back after %d ms\n", time.Since(start).Milliseconds())
	if now := ctl(t, "-n", target, "get", "identities", "-o", "jsonpath={.spec.nodeId}"); now != identity {
		t.Errorf("identity changed from %s to %s", identity, now)
	}
	kittest.AwaitNoError(t, time.Minute, func() error {
		result := outside.Run(t.Context(), "etcdctl", append(etcdPKI(t, target), "endpoint", "health")...)

		return result.Err
	})
	if now := etcdctlMembers(t, controlPlanes[0]); !slices.Equal(now, members) {
		t.Errorf("etcd members changed from %s to %s", members, now)
	}
}
