package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"text/tabwriter"
	"time"

	"github.com/dactyl-os/dactyl/services/kit/kittest"
	"github.com/dactyl-os/dactyl/tools/internal/outside"
)

const (
	// stable is a little longer than init's: a crash after so long a time of serving counts as the first one.
	stable = 11 * time.Second
	// stoppedPerSecond is the load while daemons are frozen: calls pile up, and a caller may have 128 streams on a node.
	stoppedPerSecond = 5
	memoryLimit      = 64 << 20
	shortStop        = 5 * time.Second
	longStop         = 40 * time.Second
	// noticed is the time in which init has to see that a daemon hangs.
	noticed = 15 * time.Second
)

// rounds of each death: one by default, five with `make test-crash`.
func rounds() int {
	n, err := strconv.Atoi(os.Getenv("DACTYL_CRASH_ROUNDS"))
	if err != nil {
		return 1
	}

	return n
}

// tally is a row of the table.
type tally struct {
	name                string
	deaths              int
	calls, failed, told int64
	recovery, slowest   time.Duration
	errors              map[string]int
}

func (r *tally) add(l *load, recovery time.Duration) {
	r.deaths++
	r.calls, r.failed, r.told = r.calls+l.calls.Load(), r.failed+l.failed.Load(), r.told+l.told.Load()
	r.recovery, r.slowest = max(r.recovery, recovery), max(r.slowest, time.Duration(l.slowest.Load()))
	for text, n := range l.errors {
		r.errors[text] += n
	}
}

// report prints the table and fails the test for every call that failed.
func report(t *testing.T, title string, rows []*tally) {
	t.Helper()
	var table strings.Builder
	columns := tabwriter.NewWriter(&table, 0, 0, 3, ' ', 0)
	fmt.Fprintln(columns, "DAEMON\tDEATHS\tLONGEST RECOVERY MS\tCALLS\tFAILED\tTOLD WHO HANGS\tSLOWEST MS")
	for _, r := range rows {
		fmt.Fprintf(columns, "%s\t%d\t%d\t%d\t%d\t%d\t%d\n", r.name, r.deaths, r.recovery.Milliseconds(), r.calls, r.failed, r.told, r.slowest.Milliseconds())
		if r.failed > 0 {
			t.Errorf("%s, %s: %d of %d calls failed: %v", title, r.name, r.failed, r.calls, r.errors)
		}
	}
	columns.Flush()
	fmt.Printf("%s\n%s", title, table.String())
}

// TestDeathMatrix lets each daemon die in every way that is a crash of its own.
func TestDeathMatrix(t *testing.T) {
	for _, death := range []struct {
		name string
		by   func(t *testing.T, pid int)
	}{
		{"SIGSEGV", func(t *testing.T, pid int) { signal(t, pid, syscall.SIGSEGV) }},
		{"out of memory", outOfMemory},
		{"descriptors closed", closeDescriptors},
	} {
		t.Run(death.name, func(t *testing.T) { die(t, death.name, death.by) })
	}
}

func die(t *testing.T, title string, by func(t *testing.T, pid int)) {
	entry, target := controlPlanes[0], controlPlanes[1]
	namespace := netns(t, target)
	check := unchanged(t, entry, target)
	control := dial(t, entry, true)
	last := map[string]time.Time{}
	var rows []*tally
	for _, daemon := range outside.Daemons() {
		rows = append(rows, &tally{name: daemon, errors: map[string]int{}})
	}
	for range rounds() {
		for _, row := range rows {
			time.Sleep(time.Until(last[row.name].Add(stable))) // a rule of init's, not a guess
			traffic := startLoad(dial(t, entry, true), target, callsPerSecond, nil)
			time.Sleep(quiet)
			start, pid := time.Now(), awaitPID(t, namespace, row.name)
			by(t, pid)
			kittest.AwaitNoError(t, 30*time.Second, func() error {
				if now, err := outside.PID(namespace, row.name); err != nil || now == pid {
					return fmt.Errorf("%s: process %d, %w", row.name, now, err)
				}

				return nil
			})
			probe(t, control, target, row.name)
			last[row.name] = time.Now()
			recovery := time.Since(start)
			time.Sleep(quiet)
			traffic.stop()
			row.add(traffic, recovery)
		}
	}
	report(t, title+" of each daemon", rows)
	check()
}

func signal(t *testing.T, pid int, number syscall.Signal) {
	t.Helper()
	if err := syscall.Kill(pid, number); err != nil {
		t.Fatalf("signal %s to %d: %v", number, pid, err)
	}
}

// outOfMemory has the kernel's OOM killer end a process: by the limit of its own group where version 2 of the controllers
// counts memory, else by a group of version 1, which init does not see.
func outOfMemory(t *testing.T, pid int) {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/cgroup", pid))
	if err != nil {
		t.Fatal(err)
	}
	dir, limit := "", ""
	for line := range strings.Lines(string(text)) {
		fields := strings.SplitN(strings.TrimSpace(line), ":", 3)
		switch {
		case fields[0] == "0":
			if path := filepath.Join(unified(), fields[2]); exists(filepath.Join(path, "memory.max")) {
				dir, limit = path, "memory.max"
				before, _ := os.ReadFile(filepath.Join(dir, limit))
				defer func() { _ = os.WriteFile(filepath.Join(dir, limit), before, 0) }()
			}
		case fields[1] == "memory" && dir == "":
			dir, limit = fmt.Sprintf("/sys/fs/cgroup/memory/dactyl-oom-%d", pid), "memory.limit_in_bytes"
			if err := os.Mkdir(dir, 0o755); err != nil {
				t.Fatal(err)
			}
			defer func() { _ = os.Remove(dir) }()
			write(t, filepath.Join(dir, "cgroup.procs"), strconv.Itoa(pid))
		}
	}
	if dir == "" {
		t.Skip("SKIP: this host counts memory neither in cgroups of version 2 nor of version 1")
	}
	write(t, filepath.Join(dir, limit), strconv.Itoa(memoryLimit))
	allocate(t, pid, 4*memoryLimit)
	kittest.Await(t, 30*time.Second, fmt.Sprintf("the kernel ends %d", pid), func() bool { return syscall.Kill(pid, 0) != nil })
}

func unified() string {
	if exists("/sys/fs/cgroup/cgroup.controllers") {
		return "/sys/fs/cgroup"
	}

	return "/sys/fs/cgroup/unified"
}

func exists(path string) bool {
	_, err := os.Stat(path)

	return err == nil
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0); err != nil {
		t.Fatal(err)
	}
}

// TestStops freezes all daemons of a node at once: for a short time nobody notices but by waiting, for a long one init
// does, and callers are answered or told who hangs.
func TestStops(t *testing.T) {
	entry, target := controlPlanes[0], controlPlanes[1]
	check := unchanged(t, entry, target)
	short := &tally{name: "all", errors: map[string]int{}}
	for range rounds() {
		stop(t, entry, target, outside.Daemons(), shortStop, short, nil)
	}
	report(t, "SIGSTOP of 5 s, all daemons of a node", []*tally{short})

	// A node whose gateway hangs says nothing: that one is frozen on another.
	var others []string
	for _, daemon := range outside.Daemons() {
		if daemon != "gateway" {
			others = append(others, daemon)
		}
	}
	long, gateway := &tally{name: "all but the gateway", errors: map[string]int{}}, &tally{name: "gateway", errors: map[string]int{}}
	clear := func(node string) func(error) bool {
		return func(err error) bool {
			return strings.Contains(err.Error(), "has not answered for") || strings.Contains(err.Error(), node)
		}
	}
	for range rounds() {
		t.Run("long", func(t *testing.T) {
			t.Run("gateway", func(t *testing.T) {
				t.Parallel()
				stop(t, entry, worker, []string{"gateway"}, longStop, gateway, clear(worker))
			})
			t.Run("others", func(t *testing.T) {
				t.Parallel()
				stop(t, entry, target, others, longStop, long, clear(target))
			})
		})
	}
	report(t, "SIGSTOP of 40 s", []*tally{long, gateway})
	check()
}

// stop freezes daemons of a node together. init sees it if there is time, and restarts none of them.
func stop(t *testing.T, entry, node string, daemons []string, duration time.Duration, row *tally, clear func(error) bool) {
	namespace := netns(t, node)
	pids := map[string]int{}
	for _, daemon := range daemons {
		pids[daemon] = awaitPID(t, namespace, daemon)
	}
	traffic := startLoad(dial(t, entry, true), node, stoppedPerSecond, clear)
	time.Sleep(quiet)
	thaw := func() {
		for _, pid := range pids {
			_ = syscall.Kill(pid, syscall.SIGCONT)
		}
	}
	defer thaw()
	start := time.Now()
	for _, pid := range pids {
		signal(t, pid, syscall.SIGSTOP)
	}
	if _, frozen := pids["gateway"]; !frozen && duration > noticed {
		kittest.AwaitNoError(t, noticed, func() error { return allSick(t, node, daemons) })
	}
	time.Sleep(time.Until(start.Add(duration)))
	thaw()
	thawed := time.Now()
	control := dial(t, entry, true)
	for _, daemon := range daemons {
		probe(t, control, node, daemon)
	}
	recovery := time.Since(thawed)
	time.Sleep(quiet)
	traffic.stop()
	row.add(traffic, recovery)
	if duration > noticed && pids["gateway"] != 0 {
		if said := ctl(t, "-e", entry, "-n", node, "service", "gateway"); !strings.Contains(said, "Health check failed: no answer within 4s") {
			t.Errorf("init did not notice:\n%s", said)
		}
	}
	for daemon, pid := range pids {
		if now := awaitPID(t, namespace, daemon); now != pid {
			t.Errorf("%s was restarted: process %d is %d now", daemon, pid, now)
		}
	}
}

// allSick is nil when `services` shows every one of the daemons as not healthy.
func allSick(t *testing.T, node string, daemons []string) error {
	lines := ctl(t, "-n", node, "services")
	for _, daemon := range daemons {
		for line := range strings.Lines(lines) {
			if fields := strings.Fields(line); len(fields) > 3 && fields[1] == daemon && fields[3] != "Fail" {
				return fmt.Errorf("%s hangs and is shown as %s", daemon, strings.TrimSpace(line))
			}
		}
	}

	return nil
}
