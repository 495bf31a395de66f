package supervise_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/dactyl-os/dactyl/services/init/internal/manifest"
	"github.com/dactyl-os/dactyl/services/init/internal/supervise"
)

// rig plays the runner: it keeps the clock, the effects and the events as text.
type rig struct {
	*supervise.Core
	t    *testing.T
	now  time.Time
	runs map[string]int
	said []string
}

func newRig(t *testing.T, manifests ...manifest.Manifest) *rig {
	t.Helper()

	for i := range manifests {
		manifests[i].StopTimeout = 5 * time.Second
		if manifests[i].Restart == "" {
			manifests[i].Restart = manifest.RestartAlways
		}
	}

	ordered, err := manifest.Order(manifests)
	if err != nil {
		t.Fatal(err)
	}

	r := &rig{t: t, now: time.Unix(1_000_000, 0), runs: map[string]int{}}
	r.Core = supervise.New(supervise.DefaultPolicy(), ordered, r.now, func(e supervise.Event) {
		r.said = append(r.said, fmt.Sprintf("%s %s: %s", e.Service, e.State, e.Message))
	})
	r.said = nil

	return r
}

// settle carries out effects: processes start at once with the run's number as PID.
func (r *rig) settle() {
	for effects := r.Effects(); len(effects) > 0; effects = r.Effects() {
		for _, effect := range effects {
			switch e := effect.(type) {
			case supervise.Launch:
				r.runs[e.Spec.Name] = e.Run
				r.Launched(r.now, e.Spec.Name, e.Run, 100+e.Run)
			case supervise.Open:
				r.said = append(r.said, fmt.Sprintf("> %s opened", e.Spec.Name))
			case supervise.Drop:
				r.said = append(r.said, fmt.Sprintf("> %s dropped", e.Service))
			case supervise.Signal:
				r.said = append(r.said, fmt.Sprintf("> %s %s group=%v", e.Service, e.Signal, e.Group))
			case supervise.Withdraw:
				r.said = append(r.said, fmt.Sprintf("> %s withdrawn", e.Service))
			case supervise.MarkStopped:
				r.said = append(r.said, fmt.Sprintf("> %s marked", e.Service))
			}
		}
	}
}

func (r *rig) boot()                { r.Boot(r.now); r.settle() }
func (r *rig) ready(service string) { r.Ready(r.now, service, r.runs[service], "v1 abc"); r.settle() }
func (r *rig) exit(service, status string, tail ...string) {
	r.Exited(r.now, service, r.runs[service], supervise.Exit{
		Status: status, Killed: status == "killed", Success: status == "exit status 0", Tail: tail,
	})
	r.settle()
}

func (r *rig) pass(d time.Duration) {
	r.now = r.now.Add(d)
	r.Tick(r.now)
	r.settle()
}

// expect compares what was said since the last call.
func (r *rig) expect(lines ...string) {
	r.t.Helper()

	if got, want := strings.Join(r.said, "\n"), strings.Join(lines, "\n"); got != want {
		r.t.Fatalf("said:\n%s\n\nwant:\n%s", got, want)
	}

	r.said = nil
}

func TestStartsInOrderOfNeeds(t *testing.T) {
	r := newRig(t, manifest.Manifest{Name: "gateway", Needs: []string{"configd", "trustd"}}, manifest.Manifest{Name: "configd"},
		manifest.Manifest{Name: "trustd", Needs: []string{"configd"}})
	r.boot()
	r.expect(
		"configd Preparing: Handing over sockets, log and limits",
		`trustd Waiting: Waiting for service "configd" to be "up"`,
		`gateway Waiting: Waiting for service "configd" to be "up", service "trustd" to be "up"`,
		"configd Starting: Started as PID 101, not serving yet")

	r.now = r.now.Add(80 * time.Millisecond)
	r.ready("configd")
	r.expect(
		"configd Running: Serving as PID 101 after 80ms, version v1 abc",
		"trustd Preparing: Handing over sockets, log and limits",
		`gateway Waiting: Waiting for service "trustd" to be "up"`,
		"trustd Starting: Started as PID 101, not serving yet")

	r.ready("trustd")
	r.expect(
		"trustd Running: Serving as PID 101 after 0s, version v1 abc",
		"gateway Preparing: Handing over sockets, log and limits",
		"gateway Starting: Started as PID 101, not serving yet")
}

// What starts before the daemons it needs still ends before them.
func TestStartsAfterLessThanItNeeds(t *testing.T) {
	r := newRig(t, manifest.Manifest{Name: "configd"}, manifest.Manifest{Name: "networkd", Needs: []string{"configd"}, After: []string{}})
	r.boot()
	r.expect(
		"configd Preparing: Handing over sockets, log and limits",
		"networkd Preparing: Handing over sockets, log and limits",
		"configd Starting: Started as PID 101, not serving yet",
		"networkd Starting: Started as PID 101, not serving yet")

	r.StopAll(r.now)
	r.settle()
	r.expect("networkd Stopping: Stopping PID 101: the node goes down", "> networkd terminated group=false")
}

func TestWaitsForTheConfiguration(t *testing.T) {
	r := newRig(t, manifest.Manifest{Name: "etcdd", Conditions: []manifest.Condition{manifest.ControlPlane}},
		manifest.Manifest{Name: "member", Conditions: []manifest.Condition{manifest.Configuration}})
	r.boot()
	r.expect("etcdd Waiting: Waiting for the machine configuration", "member Waiting: Waiting for the machine configuration")

	r.Learn(r.now, map[manifest.Condition]supervise.Fact{manifest.Configuration: supervise.Met, manifest.ControlPlane: supervise.Never})
	r.settle()
	r.expect(
		"etcdd Skipped: Not needed: this node is not a control plane",
		"member Preparing: Handing over sockets, log and limits",
		"> etcdd withdrawn",
		"member Starting: Started as PID 101, not serving yet")

	if got := r.Start(r.now, "etcdd"); got != `Service "etcdd" is not needed on this node` {
		t.Error(got)
	}
}

// However fast the machine: what is killed after it said that it serves was killed from outside.
func TestKillsFromOutsideCostNothingUntilTheyAreALoop(t *testing.T) {
	r := newRig(t, manifest.Manifest{Name: "a"})
	r.boot()

	free := supervise.DefaultPolicy().Kills

	for i := range free {
		r.ready("a")
		r.said = nil
		r.exit("a", "killed")
		r.expect(
			fmt.Sprintf("a Failed: PID %d ended by itself (killed), restarting at once", 101+i),
			"a Preparing: Handing over sockets, log and limits",
			fmt.Sprintf("a Starting: Started as PID %d, not serving yet", 102+i))
	}

	for range supervise.DefaultPolicy().Limit {
		r.ready("a")
		r.said = nil
		r.exit("a", "killed")
		r.pass(4 * time.Second)
	}

	if said := strings.Join(r.said, "\n"); !strings.HasPrefix(said, "a Failed: Parked after 5 crashes within 16s (killed)") {
		t.Errorf("a loop of kills goes on:\n%s", said)
	}

	// A kill now and then is never one.
	r.Restart(r.now, "a")
	r.settle()

	for range 3 * free {
		r.ready("a")
		r.pass(4 * time.Second)
		r.said = nil
		r.exit("a", "killed")

		if !strings.HasSuffix(r.said[0], "(killed), restarting at once") {
			t.Fatal(r.said[0])
		}
	}
}

func TestOutOfMemoryIsACrash(t *testing.T) {
	const status = "killed by the kernel: out of memory, limit 96 MiB"

	r := newRig(t, manifest.Manifest{Name: "a"})
	r.boot()

	for range supervise.DefaultPolicy().Limit {
		r.ready("a")
		r.said = nil
		r.exit("a", status)
		r.pass(4 * time.Second)
	}

	if want := "a Failed: Parked after 5 crashes within 16s (" + status + ")"; !strings.HasPrefix(r.said[0], want) {
		t.Errorf("said %q, want %q", r.said[0], want)
	}
}

func TestCrashLoopBacksOffAndParks(t *testing.T) {
	r := newRig(t, manifest.Manifest{Name: "a"}, manifest.Manifest{Name: "b", Needs: []string{"a"}})
	r.boot()
	r.said = nil

	r.exit("a", "exit status 2")
	r.expect("a Failed: PID 101 ended by itself (exit status 2), restarting at once",
		"a Preparing: Handing over sockets, log and limits", "a Starting: Started as PID 102, not serving yet")

	for i, delay := range []time.Duration{250 * time.Millisecond, time.Second, 4 * time.Second} {
		r.exit("a", "exit status 2")
		r.expect(fmt.Sprintf("a Failed: PID %d ended by itself (exit status 2), restarting in %s", 102+i, delay),
			fmt.Sprintf("a Waiting: Waiting for %s to pass before the next start", delay))

		if at, waits := r.Deadline(); !waits || at.Sub(r.now) != delay {
			t.Fatalf("deadline in %s, want %s", at.Sub(r.now), delay)
		}

		r.pass(delay - time.Millisecond)
		r.expect()
		r.pass(time.Millisecond)
		r.expect("a Preparing: Handing over sockets, log and limits",
			fmt.Sprintf("a Starting: Started as PID %d, not serving yet", 103+i))
	}

	r.exit("a", "exit status 2", "panic: boom", "goroutine 1")
	r.expect("a Failed: Parked after 5 crashes within 5.3s (exit status 2); start it again with `service a start`"+
		"; its last log lines: panic: boom | goroutine 1", "> a marked")
	r.pass(time.Hour)
	r.expect()

	if got := r.Restart(r.now, "a"); got != `Service "a" started` {
		t.Error(got)
	}

	r.settle()
	r.expect("a Preparing: Handing over sockets, log and limits", "a Starting: Started as PID 106, not serving yet")
}

func TestStableRunForgetsCrashes(t *testing.T) {
	r := newRig(t, manifest.Manifest{Name: "a"})
	r.boot()
	r.exit("a", "exit status 1")
	r.ready("a")
	r.pass(11 * time.Second)

	r.said = nil
	r.exit("a", "exit status 1")
	r.expect("a Failed: PID 102 ended by itself (exit status 1), restarting at once",
		"a Preparing: Handing over sockets, log and limits", "a Starting: Started as PID 103, not serving yet")
}

func TestRestartPolicies(t *testing.T) {
	r := newRig(t, manifest.Manifest{Name: "never", Restart: manifest.RestartNever},
		manifest.Manifest{Name: "once", Restart: manifest.RestartOnce}, manifest.Manifest{Name: "after", Needs: []string{"once"}})
	r.boot()
	r.said = nil

	r.exit("never", "exit status 1", "bad")
	r.expect("never Failed: PID 101 ended (exit status 1); its last log lines: bad", "> never marked")
	r.exit("once", "exit status 1")
	r.expect("once Failed: PID 101 ended by itself (exit status 1), restarting at once",
		"once Preparing: Handing over sockets, log and limits", "once Starting: Started as PID 102, not serving yet")
	r.exit("once", "exit status 0")
	r.expect("once Finished: PID 102 ended (exit status 0)",
		"after Preparing: Handing over sockets, log and limits", "> once marked", "after Starting: Started as PID 101, not serving yet")
}

func TestStopAllGoesInReverseAndKills(t *testing.T) {
	r := newRig(t, manifest.Manifest{Name: "configd"}, manifest.Manifest{Name: "trustd", Needs: []string{"configd"}},
		manifest.Manifest{Name: "gateway", Needs: []string{"trustd"}}, manifest.Manifest{Name: "timed", Needs: []string{"configd"}})
	r.boot()

	for _, name := range []string{"configd", "trustd", "gateway"} {
		r.ready(name)
	}

	r.said = nil
	r.StopAll(r.now)
	r.settle()
	r.expect("gateway Stopping: Stopping PID 101: the node goes down", "timed Stopping: Stopping PID 101: the node goes down",
		"> gateway terminated group=false", "> timed terminated group=false")
	r.exit("gateway", "exit status 0")
	r.expect("gateway Finished: Stopped (exit status 0)", "trustd Stopping: Stopping PID 101: the node goes down",
		"> trustd terminated group=false")
	r.exit("timed", "exit status 0")
	r.expect("timed Finished: Stopped (exit status 0)")

	r.pass(5 * time.Second)
	r.expect("trustd Stopping: Killing PID 101: it did not end within 5s", "> trustd killed group=true")
	r.exit("trustd", "killed")
	r.expect("trustd Finished: Stopped (killed)", "configd Stopping: Stopping PID 101: the node goes down",
		"> configd terminated group=false")

	if r.Down() {
		t.Error("down while configd lives")
	}

	r.exit("configd", "exit status 0")

	if !r.Down() {
		t.Error("not down")
	}
}

func TestRequests(t *testing.T) {
	r := newRig(t, manifest.Manifest{Name: "a", Aliases: []string{"alpha"}})
	r.boot()
	r.ready("a")
	r.said = nil

	if name, known := r.Resolve("alpha"); !known || name != "a" {
		t.Error("alias is not known")
	}

	if got := r.Start(r.now, "a"); got != `Service "a" is already running` {
		t.Error(got)
	}

	r.Restart(r.now, "a")
	r.Restart(r.now, "a")
	r.settle()
	r.expect("a Stopping: Stopping PID 101: restarting, asked to", "> a terminated group=false")
	r.exit("a", "exit status 0")
	r.expect("a Finished: Stopped (exit status 0)", "a Preparing: Handing over sockets, log and limits",
		"a Starting: Started as PID 102, not serving yet")

	r.Stop(r.now, "a")
	r.settle()
	r.exit("a", "exit status 0")
	r.expect("a Stopping: Stopping PID 102: asked to", "> a terminated group=false", "a Finished: Stopped (exit status 0)", "> a marked")
	r.pass(time.Minute)
	r.expect()

	if got := r.Stop(r.now, "a"); got != `Service "a" was not running` {
		t.Error(got)
	}
}

func TestLaunchFailureCountsAsACrash(t *testing.T) {
	r := newRig(t, manifest.Manifest{Name: "a"})
	r.Boot(r.now)
	r.Effects()
	r.said = nil
	r.LaunchFailed(r.now, "a", 1, errors.New("no such file"))
	r.settle()
	r.expect("a Failed: Not started (no such file), restarting at once",
		"a Preparing: Handing over sockets, log and limits", "a Starting: Started as PID 102, not serving yet")
}

func TestDaemonsReportWhatTheyWaitFor(t *testing.T) {
	r := newRig(t, manifest.Manifest{Name: "etcdd"})
	r.boot()

	if err := r.Report(r.now, "etcdd", supervise.Preparing, "Waiting for bootstrap"); err == nil {
		t.Error("a daemon that does not serve yet reported")
	}

	r.ready("etcdd")
	r.said = nil

	for range 2 {
		if err := r.Report(r.now, "etcdd", supervise.Preparing, "Waiting for bootstrap"); err != nil {
			t.Fatal(err)
		}
	}

	r.Checked(r.now, "etcdd", 1, supervise.Check{Healthy: true, Answered: true})

	if health := r.Status()[0].Health; health.Known {
		t.Errorf("a daemon that is preparing has the health %+v", health)
	}

	r.exit("etcdd", "killed")
	r.expect("etcdd Preparing: Waiting for bootstrap",
		"etcdd Failed: PID 101 ended by itself (killed), restarting at once",
		"etcdd Preparing: Handing over sockets, log and limits", "etcdd Starting: Started as PID 102, not serving yet")

	if err := r.Report(r.now, "etcdd", supervise.Stopping, ""); err == nil {
		t.Error("reported Stopping")
	}
}
