package supervise_test

import (
	"strings"
	"testing"
	"time"

	"github.com/dactyl-os/dactyl/services/init/internal/manifest"
	"github.com/dactyl-os/dactyl/services/init/internal/supervise"
)

var (
	well   = supervise.Check{Healthy: true, Answered: true}
	sick   = supervise.Check{Message: "NOT_SERVING", Answered: true}
	silent = supervise.Check{Message: "no answer within 4s"}
)

// check lets a health check tell something every five seconds.
func (r *rig) check(service string, check supervise.Check, times int) {
	for range times {
		r.pass(5 * time.Second)
		r.Checked(r.now, service, r.runs[service], check)
		r.settle()
	}
}

func TestHealthIsToldWhenItChanges(t *testing.T) {
	r := newRig(t, manifest.Manifest{Name: "a"})
	r.boot()
	r.ready("a")
	r.said = nil

	for _, check := range []supervise.Check{well, well, sick, sick, well} {
		r.check("a", check, 1)
	}

	r.Checked(r.now, "a", 7, silent)
	r.expect("a Running: Health check successful", "a Running: Health check failed: NOT_SERVING", "a Running: Health check successful")
}

func TestHealthIsNotOKWhileADaemonSaysItIsNotRunning(t *testing.T) {
	r := newRig(t, manifest.Manifest{Name: "a"})
	r.boot()
	r.ready("a")
	r.check("a", well, 1)

	for _, tc := range []struct {
		state   supervise.State
		known   bool
		healthy bool
	}{
		{state: supervise.Preparing}, {state: supervise.Waiting}, {state: supervise.Running, known: true, healthy: true},
		{state: supervise.Failed, known: true},
	} {
		if err := r.Report(r.now, "a", tc.state, "so to say"); err != nil {
			t.Fatal(err)
		}

		for _, when := range []string{"at once", "after a check"} {
			if got := r.Status()[0].Health; got.Known != tc.known || got.Healthy != tc.healthy {
				t.Errorf("%s %s: health %+v", tc.state, when, got)
			}

			r.check("a", well, 1)
		}
	}
}

// What anybody says is one line: a client shows it in a table.
func TestMessagesHaveNoLineBreaks(t *testing.T) {
	r := newRig(t, manifest.Manifest{Name: "a"})
	r.boot()
	r.ready("a")
	r.said = nil

	if err := r.Report(r.now, "a", supervise.Failed, "A: refused\r\nB: refused\n"); err != nil {
		t.Fatal(err)
	}

	r.check("a", well, 1)

	if got := r.Status()[0].Health.Message; got != "A: refused | B: refused" {
		t.Errorf("health: %q", got)
	}

	r.check("a", supervise.Check{Message: "one\n\ttwo", Answered: true}, 1)

	if got := r.Status()[0].Health.Message; got != "one | two" {
		t.Errorf("health: %q", got)
	}

	r.expect("a Failed: A: refused | B: refused", "a Failed: Health check failed: A: refused | B: refused", "a Failed: Health check failed: one | two")

	r.exit("a", "exit status 2\n\tof a program")

	for _, e := range r.Status()[0].Events {
		if strings.ContainsAny(e.Message, "\n\r\t") {
			t.Errorf("an event has more than a line: %q", e.Message)
		}
	}
}

func TestAHungDaemonIsRestarted(t *testing.T) {
	r := newRig(t, manifest.Manifest{Name: "a", Hang: time.Minute})
	r.boot()
	r.ready("a")
	r.check("a", well, 1)
	r.said = nil

	r.check("a", silent, 11)
	r.expect("a Running: Health check failed: no answer within 4s")
	r.check("a", well, 1)
	r.check("a", silent, 11)
	r.said = nil
	r.check("a", silent, 1)
	r.expect("a Running: Ending PID 101, which has not answered for 1m0s; its log shows where it stands", "> a quit group=false")
	r.pass(5 * time.Second)
	r.expect("a Stopping: Killing PID 101: it did not end within 5s", "> a killed group=true")
	r.exit("a", "killed")
	r.expect("a Failed: PID 101 did not answer for 1m0s and was ended (killed), restarting at once",
		"a Preparing: Handing over sockets, log and limits", "a Starting: Started as PID 102, not serving yet")
}

// A daemon that hangs before it serves is asked nothing: its start has a limit of its own.
func TestADaemonThatHangsBeforeItServesIsRestarted(t *testing.T) {
	r := newRig(t, manifest.Manifest{Name: "a", Hang: time.Minute}, manifest.Manifest{Name: "patient"},
		manifest.Manifest{Name: "program", Hang: time.Minute, NoSocket: true})
	r.boot()
	r.said = nil
	r.pass(14 * time.Second)
	r.expect()
	r.pass(time.Second)
	r.expect("a Starting: Health check failed: not serving 15s after its start", "patient Starting: Health check failed: not serving 15s after its start")
	r.pass(44 * time.Second)
	r.expect()
	r.pass(time.Second)
	r.expect("a Starting: Ending PID 101, which does not serve 1m0s after its start; its log shows where it stands", "> a quit group=false")
	r.ready("a") // too late
	r.expect()
	r.exit("a", "signal: quit")
	r.expect("a Failed: PID 101 did not serve within 1m0s and was ended (signal: quit), restarting at once",
		"a Preparing: Handing over sockets, log and limits", "a Starting: Started as PID 102, not serving yet")

	// One that does serve, late, is well.
	r.pass(20 * time.Second)
	r.said = nil
	r.ready("a")
	r.expect("a Running: Serving as PID 102 after 20s, version v1 abc")
	r.check("a", well, 1)
	r.expect("a Running: Health check successful")

	r.ready("patient")
	r.pass(time.Hour)

	if _, waits := r.Deadline(); waits {
		t.Error("something waits for time")
	}
}

func TestWhoAnswersIsNeverHung(t *testing.T) {
	r := newRig(t, manifest.Manifest{Name: "sick", Hang: time.Minute}, manifest.Manifest{Name: "patient"})
	r.boot()
	r.ready("sick")
	r.ready("patient")
	r.said = nil

	for range 100 {
		r.check("sick", sick, 1)
		r.check("patient", silent, 1)
	}

	r.expect("sick Running: Health check failed: NOT_SERVING", "patient Running: Health check failed: no answer within 4s")
}

// A machine that was suspended for an hour finds one check without an answer, not an hour of silence.
func TestANodeThatSleptEndsNobody(t *testing.T) {
	r := newRig(t, manifest.Manifest{Name: "a", Hang: time.Minute})
	r.boot()
	r.ready("a")
	r.said = nil

	for range 3 {
		r.pass(time.Hour)
		r.check("a", silent, 1)
	}

	r.expect("a Running: Health check failed: no answer within 4s")
}
