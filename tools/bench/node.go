package main

import (
	"bufio"
	"context"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"google.golang.org/protobuf/types/known/emptypb"

	"github.com/dactyl-os/dactyl/proto/machine"
	"github.com/dactyl-os/dactyl/tools/internal/outside"
)

// memory reads the proportional set size of every daemon of one control plane.
func memory(ctx context.Context, t *table, settle time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(settle):
	}
	namespace, err := outside.NetNS(ctx, alone)
	if err != nil {
		return err
	}
	sum, etcd := 0, 0
	for _, daemon := range append([]string{"init"}, outside.Daemons()...) {
		pid, err := outside.PID(namespace, daemon)
		if err != nil {
			return err
		}
		pss, private, err := sizesOf(pid)
		if err != nil {
			return err
		}
		sum += pss
		if daemon == "etcdd" {
			etcd = private
		}
		target := map[string]string{"init": "under 15 MB"}[daemon]
		t.add("PSS of "+daemon, fmt.Sprintf("%.1f MB (private %.1f)", float64(pss)/1024, float64(private)/1024), target)
	}
	t.add("PSS of all daemons of a control plane (without etcdd's private memory)",
		fmt.Sprintf("%.1f MB (%.1f)", float64(sum)/1024, float64(sum-etcd)/1024), "80 MB without etcd's own data")

	return nil
}

// sizesOf gives the proportional and the private size of a process in KiB (proc(5), smaps_rollup).
func sizesOf(pid int) (pss, private int, err error) {
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/smaps_rollup", pid))
	if err != nil {
		return 0, 0, err
	}
	for _, line := range strings.Split(string(raw), "\n") {
		fields := strings.Fields(line)
		if len(fields) < 2 {
			continue
		}
		size, _ := strconv.Atoi(fields[1])
		switch fields[0] {
		case "Pss:":
			pss = size
		case "Private_Clean:", "Private_Dirty:":
			private += size
		}
	}

	return pss, private, nil
}

// restarts measures from kill -9 to the first answer of the new process.
func restarts(ctx context.Context, t *table) error {
	namespace, err := outside.NetNS(ctx, entry)
	if err != nil {
		return err
	}
	conn, err := outside.Dial(entry, true)
	if err != nil {
		return err
	}
	defer conn.Close()
	for _, daemon := range outside.Daemons() {
		probe := get(conn, outside.Probe(daemon))
		var s samples
		for range repeats {
			if err := eventually(ctx, probe); err != nil {
				return fmt.Errorf("%s: %w", daemon, err)
			}
			pid, err := outside.PID(namespace, daemon)
			if err != nil {
				return err
			}
			start := time.Now()
			if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
				return err
			}
			if err := eventually(ctx, probe); err != nil {
				return fmt.Errorf("%s after kill -9: %w", daemon, err)
			}
			s = append(s, time.Since(start))
		}
		t.add("kill -9 of "+daemon+" to serving again", s.String(), "at most 300 ms")
	}

	return nil
}

// eventually repeats a call until it works, for at most half a minute.
func eventually(ctx context.Context, call func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	for {
		attempt, done := context.WithTimeout(ctx, 5*time.Second)
		err := call(attempt)
		done()
		if err == nil || ctx.Err() != nil {
			return err
		}
		time.Sleep(2 * time.Millisecond)
	}
}

// starts measures from init's exec to the first authenticated Version of a node.
func starts(ctx context.Context, t *table) error {
	var s samples
	for range repeats {
		namespace, err := outside.NetNS(ctx, worker)
		if err != nil {
			return err
		}
		old, err := outside.PID(namespace, "init")
		if err != nil {
			return err
		}
		if err := syscall.Kill(old, syscall.SIGKILL); err != nil {
			return err
		}
		took, err := firstVersion(ctx, old)
		if err != nil {
			return err
		}
		s = append(s, took)
	}
	t.add("node start (init's exec) to the first authenticated Version", s.String(), "at most 1,000 ms")

	return nil
}

func firstVersion(ctx context.Context, old int) (time.Duration, error) {
	var started time.Time
	err := eventually(ctx, func(ctx context.Context) error {
		namespace, err := outside.NetNS(ctx, worker)
		if err != nil {
			return err
		}
		pid, err := outside.PID(namespace, "init")
		if err != nil {
			return err
		}
		if pid == old {
			return fmt.Errorf("init %d is still there", old)
		}
		started, err = startTime(pid)

		return err
	})
	if err != nil {
		return 0, err
	}
	err = eventually(ctx, func(ctx context.Context) error {
		ctx, cancel := context.WithTimeout(ctx, 200*time.Millisecond)
		defer cancel()
		conn, err := outside.Dial(worker, false)
		if err != nil {
			return err
		}
		defer conn.Close()
		_, err = machine.NewMachineServiceClient(conn).Version(ctx, &emptypb.Empty{})

		return err
	})

	return time.Since(started), err
}

// startTime is when a process started, from /proc/PID/stat (field 22, in ticks of 10 ms since boot).
func startTime(pid int) (time.Time, error) {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return time.Time{}, err
	}
	uptime, err := os.ReadFile("/proc/uptime")
	if err != nil {
		return time.Time{}, err
	}
	_, rest, _ := strings.Cut(string(stat), ") ")
	ticks, err := strconv.ParseInt(strings.Fields(rest)[19], 10, 64)
	if err != nil {
		return time.Time{}, err
	}
	up, err := strconv.ParseFloat(strings.Fields(string(uptime))[0], 64)
	if err != nil {
		return time.Time{}, err
	}

	return time.Now().Add(-time.Duration(up*float64(time.Second)) + time.Duration(ticks)*10*time.Millisecond), nil
}

// applyAddresses measures an apply that adds 100 addresses, from the call to the last one in the kernel.
func applyAddresses(ctx context.Context, t *table) error {
	const addresses = 100
	namespace, err := outside.NetNS(ctx, worker)
	if err != nil {
		return err
	}
	conn, err := outside.Dial(worker, false)
	if err != nil {
		return err
	}
	defer conn.Close()
	old := outside.Dactylctl(ctx, "-e", worker, "-n", worker, "read", "/system/state/config.yaml")
	if old.Err != nil {
		return fmt.Errorf("%s", old)
	}
	client := machine.NewMachineServiceClient(conn)

	before, err := processorTime(ctx, client)
	if err != nil {
		return err
	}

	var s samples
	for i := range repeats {
		var patch strings.Builder
		fmt.Fprint(&patch, "machine: {network: {interfaces: [{interface: lo, addresses: [")
		for n := range addresses {
			fmt.Fprintf(&patch, "10.%d.9.%d/32,", 100+i, n+1)
		}
		fmt.Fprint(&patch, "]}]}}")
		next, err := patched(ctx, old.Stdout, patch.String())
		if err != nil {
			return err
		}
		took, err := applyUntil(ctx, client, namespace, next, fmt.Sprintf(" 10.%d.9.", 100+i), addresses)
		if err != nil {
			return err
		}
		s = append(s, took)
	}
	after, err := processorTime(ctx, client)
	if err != nil {
		return err
	}

	t.add(fmt.Sprintf("apply of %d more addresses to all in the kernel", addresses), s.String(), "at most 20 ms")
	t.add("processor time of it", spent(before, after, repeats), "")

	return nil
}

// processorTime is what each daemon of the node has used, once their figures stand still.
func processorTime(ctx context.Context, client machine.MachineServiceClient) (map[string]time.Duration, error) {
	for sum := time.Duration(0); ; {
		reply, err := client.Stats(ctx, &machine.StatsRequest{})
		if err != nil {
			return nil, err
		}

		used, next := map[string]time.Duration{}, time.Duration(0)
		for _, stat := range reply.GetMessages()[0].GetStats() {
			used[stat.GetId()] = time.Duration(stat.GetCpuUsage()) //nolint:gosec // nanoseconds of processor time
			next += used[stat.GetId()]
		}

		// Asking costs the gateway and init some of it.
		if next-sum < 10*time.Millisecond {
			return used, nil
		}

		sum = next
		time.Sleep(500 * time.Millisecond)
	}
}

// spent lists the daemons that used most between two readings, each for one of the rounds.
func spent(before, after map[string]time.Duration, rounds int) string {
	var total time.Duration

	used := map[string]time.Duration{}
	for name, at := range after {
		used[name] = (at - before[name]) / time.Duration(rounds)
		total += used[name]
	}

	parts := []string{"all " + milliseconds(total)}
	for _, name := range slices.SortedFunc(maps.Keys(used), func(a, b string) int { return int(used[b] - used[a]) })[:4] {
		parts = append(parts, name+" "+milliseconds(used[name]))
	}

	return strings.Join(parts, "; ")
}

func patched(ctx context.Context, config, patch string) (string, error) {
	file := filepath.Join(os.Getenv("HOME"), "bench.yaml")
	if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
		return "", err
	}
	r := outside.Dactylctl(ctx, "machineconfig", "patch", file, "--patch", patch)
	if r.Err != nil {
		return "", fmt.Errorf("%s", r)
	}

	return r.Stdout, nil
}

// applyUntil applies and waits until the kernel has announced the wanted number of addresses with a prefix.
func applyUntil(ctx context.Context, client machine.MachineServiceClient, namespace, config, prefix string, wanted int) (time.Duration, error) {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	monitor := exec.CommandContext(ctx, "ip", "-n", namespace, "-o", "monitor", "address")
	stdout, err := monitor.StdoutPipe()
	if err != nil {
		return 0, err
	}
	if err := monitor.Start(); err != nil {
		return 0, err
	}
	defer func() { cancel(); _ = monitor.Wait() }()
	time.Sleep(200 * time.Millisecond) // ip gives no sign that it listens

	start := time.Now()
	failure := make(chan error, 1)
	go func() {
		_, err := client.ApplyConfiguration(ctx, &machine.ApplyConfigurationRequest{Data: []byte(config), Mode: machine.ApplyConfigurationRequest_NO_REBOOT})
		if err != nil {
			cancel()
		}
		failure <- err
	}()
	scanner := bufio.NewScanner(stdout)
	for seen := 0; seen < wanted; {
		if !scanner.Scan() {
			return 0, fmt.Errorf("%d of %d addresses came: %w", seen, wanted, <-failure)
		}
		if strings.Contains(scanner.Text(), prefix) && !strings.HasPrefix(scanner.Text(), "Deleted") {
			seen++
		}
	}
	took := time.Since(start)

	return took, <-failure
}

// sizes lists the stripped binaries and times the client's start.
func sizes(ctx context.Context, t *table) error {
	files, err := filepath.Glob(outside.Repository("_out", "separate", "*"))
	if err != nil {
		return err
	}
	files = append(files, outside.Repository("_out", "bin", "dactyl"), outside.Repository("_out", "dactylctl"))
	for _, file := range files {
		info, err := os.Stat(file)
		if err != nil {
			return err
		}
		target := map[string]string{"dactylctl": "at most 30 MB"}[filepath.Base(file)]
		t.add("size of "+filepath.Base(file), fmt.Sprintf("%.1f MB", float64(info.Size())/1e6), target)
	}
	start, err := times(ctx, 20, func(ctx context.Context) error {
		return exec.CommandContext(ctx, outside.Repository("_out", "dactylctl"), "version", "--client").Run()
	})
	if err != nil {
		return err
	}
	t.add("dactylctl version --client, wall", start.String(), "at most 30 ms")

	return nil
}
