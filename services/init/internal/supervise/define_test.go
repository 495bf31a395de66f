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

func unit(name string, change ...func(*manifest.Manifest)) manifest.Manifest {
	m := manifest.Manifest{Name: name, Command: []string{"/bin/x"}, Restart: manifest.RestartAlways, StopTimeout: 5 * time.Second}

	for _, c := range change {
		c(&m)
	}

	return m
}

func (r *rig) define(spec manifest.Manifest, want supervise.Outcome) {
	r.t.Helper()
	r.defineAs("extd", spec, want)
}

func (r *rig) defineAs(owner string, spec manifest.Manifest, want supervise.Outcome) {
	r.t.Helper()

	got, err := r.Define(r.now, owner, spec)
	if err != nil || got != want {
		r.t.Fatalf("define %s: %q, %v, want %q", spec.Name, got, err, want)
	}

	r.settle()
}

func TestDefinedUnitsLiveLikeOthers(t *testing.T) {
	r := newRig(t, manifest.Manifest{Name: "extd", Defines: []string{"ext-*", "a*", "b*"}})
	r.boot()
	r.ready("extd")
	r.said = nil

	waiting := func(m *manifest.Manifest) {
		m.Needs, m.Conditions, m.Aliases = []string{"extd"}, []manifest.Condition{"path:/x", manifest.Time, "service:a"}, []string{"b"}
	}
	r.define(unit("ext-b", waiting), supervise.Added)
	r.expect("ext-b Initialized: Defined by extd",
		`ext-b Waiting: Waiting for path "/x" to exist, the time to be right, service "a" to be "up"`, "> ext-b opened")
	r.define(unit("ext-b", waiting), supervise.Unchanged)
	r.expect("> ext-b opened")

	r.define(unit("a"), supervise.Added)
	r.Learn(r.now, map[manifest.Condition]supervise.Fact{"path:/x": supervise.Met})
	r.said = nil
	r.Learn(r.now, map[manifest.Condition]supervise.Fact{manifest.Time: supervise.Met})
	r.expect(`ext-b Waiting: Waiting for service "a" to be "up"`)
	r.ready("a")
	r.expect("a Running: Serving as PID 101 after 0s, version v1 abc", "ext-b Preparing: Handing over sockets, log and limits",
		"ext-b Starting: Started as PID 101, not serving yet")

	r.exit("extd", "killed")
	r.ready("ext-b")
	r.said = nil

	if name, known := r.Resolve("b"); !known || name != "ext-b" {
		t.Error("the alias is not known")
	}

	r.ready("extd")
	r.said = nil
	r.StopAll(r.now)
	r.settle()
	r.expect("ext-b Stopping: Stopping PID 101: the node goes down", "a Stopping: Stopping PID 101: the node goes down",
		"> ext-b terminated group=false", "> a terminated group=false")
}

func TestDefiningAgainRestartsOnlyWhatMustBe(t *testing.T) {
	r := newRig(t, manifest.Manifest{Name: "extd", Defines: []string{"ext-*", "a*", "b*"}})
	r.boot()
	r.define(unit("a"), supervise.Added)
	r.ready("a")
	r.said = nil

	r.define(unit("a", func(m *manifest.Manifest) { m.StopTimeout, m.Aliases = time.Second, []string{"alpha"} }), supervise.Changed)
	r.expect("a Running: Its definition changed", "> a opened")

	r.define(unit("a", func(m *manifest.Manifest) { m.Command = []string{"/bin/y"} }), supervise.Restarted)
	r.expect("a Stopping: Stopping PID 101: its definition changed", "> a opened", "> a terminated group=false")

	if _, known := r.Resolve("alpha"); known {
		t.Error("the old alias is still known")
	}

	r.exit("a", "exit status 0")
	r.expect("a Finished: Stopped (exit status 0)", "a Preparing: Handing over sockets, log and limits",
		"a Starting: Started as PID 102, not serving yet")

	// Who was stopped stays so; who was given up has another try.
	r.Stop(r.now, "a")
	r.exit("a", "exit status 0")
	r.said = nil
	r.define(unit("a"), supervise.Changed)
	r.expect("a Finished: Its definition changed", "> a opened")

	r.Start(r.now, "a")
	r.settle()

	for range supervise.DefaultPolicy().Limit {
		r.exit("a", "exit status 1")
		r.pass(4 * time.Second)
	}

	r.said = nil
	r.define(unit("a", func(m *manifest.Manifest) { m.Command = []string{"/bin/z"} }), supervise.Changed)

	if said := strings.Join(r.said, "\n"); !strings.Contains(said, "a Starting") {
		t.Errorf("given up for ever:\n%s", said)
	}
}

func TestForgetting(t *testing.T) {
	r := newRig(t, manifest.Manifest{Name: "extd", Defines: []string{"ext-*", "a*", "b*"}})
	r.boot()
	r.ready("extd")
	r.define(unit("a"), supervise.Added)
	r.ready("a")
	r.said = nil

	forget := func(name string, want bool) {
		t.Helper()

		if got, err := r.Forget(r.now, "extd", name); err != nil || got != want {
			t.Fatalf("forget %s: %v, %v", name, got, err)
		}

		r.settle()
	}

	forget("a", true)
	r.expect("a Stopping: Stopping PID 101: forgotten by extd", "> a terminated group=false")
	r.define(unit("a"), supervise.Restarted)
	r.exit("a", "exit status 0")

	if said := r.said[len(r.said)-1]; said != "a Starting: Started as PID 102, not serving yet" {
		t.Error(said)
	}

	forget("a", true)
	r.said = nil
	r.exit("a", "exit status 0")
	r.expect("a Finished: Stopped (exit status 0)", "> a dropped")
	forget("a", false)

	if _, known := r.Resolve("a"); known || len(r.Status()) != 1 {
		t.Errorf("still there: %+v", r.Status())
	}

	r.define(unit("b", func(m *manifest.Manifest) { m.Needs = []string{"nobody"} }), supervise.Added)
	forget("b", true)
	r.said = nil
	r.pass(time.Hour)
	r.expect()
}

func TestWhoMayDefineWhat(t *testing.T) {
	r := newRig(t, manifest.Manifest{Name: "extd", Aliases: []string{"e"}, Defines: []string{"a", "b", "c*", "e*", "podd", "z"}},
		manifest.Manifest{Name: "podd", Defines: []string{"a"}})
	r.boot()
	r.define(unit("a"), supervise.Added)
	r.define(unit("b", func(m *manifest.Manifest) { m.Needs = []string{"a"} }), supervise.Added)

	for name, tc := range map[string]struct {
		owner string
		spec  manifest.Manifest
	}{
		"another's unit":    {"podd", unit("a")},
		"a manifest's name": {"extd", unit("podd")},
		"an alias":          {"extd", unit("c", func(m *manifest.Manifest) { m.Aliases = []string{"e"} })},
	} {
		if _, err := r.Define(r.now, tc.owner, tc.spec); !errors.Is(err, supervise.ErrTaken) {
			t.Errorf("%s: %v", name, err)
		}
	}

	for owner, spec := range map[string]manifest.Manifest{
		"podd": unit("c"), "extd": unit("c", func(m *manifest.Manifest) { m.Aliases = []string{"kubelet"} }), "": unit("a"), "nobody": unit("a"), "a": unit("a"),
	} {
		if _, err := r.Define(r.now, owner, spec); !errors.Is(err, supervise.ErrForbidden) {
			t.Errorf("%q defines %v: %v", owner, spec.Names(), err)
		}
	}

	circle := (*manifest.CircleError)(nil)
	if _, err := r.Define(r.now, "extd", unit("a", func(m *manifest.Manifest) { m.Needs = []string{"b"} })); !errors.As(err, &circle) {
		t.Errorf("a circle: %v", err)
	}

	if _, err := r.Forget(r.now, "podd", "a"); !errors.Is(err, supervise.ErrTaken) {
		t.Errorf("forgets another's: %v", err)
	}

	for i := range supervise.MaxDefined - 2 {
		r.define(unit(fmt.Sprintf("c-%d", i)), supervise.Added)
	}

	if _, err := r.Define(r.now, "extd", unit("z")); !errors.Is(err, supervise.ErrFull) {
		t.Errorf("one too many: %v", err)
	}

	r.define(unit("a"), supervise.Unchanged)
}

// TestWhatUnitsMayHave: a unit gets no more rights than the manifest of the daemon that defines it has for its units.
func TestWhatUnitsMayHave(t *testing.T) {
	r := newRig(t,
		manifest.Manifest{Name: "podd", Defines: []string{"a"}, Grants: []string{manifest.AllCapabilities}},
		manifest.Manifest{Name: "extd", Defines: []string{"b"}, Grants: []string{"net_admin"}, User: 57},
		manifest.Manifest{Name: "trustd", User: 52})
	r.boot()

	with := func(user uint32, capabilities ...string) func(*manifest.Manifest) {
		return func(m *manifest.Manifest) { m.User, m.Capabilities = user, capabilities }
	}

	for name, tc := range map[string]struct {
		owner, why string
		spec       manifest.Manifest
	}{
		"a capability":         {"extd", "extd may not grant the capability sys_admin (grants:)", unit("b", with(57, "net_admin", "sys_admin"))},
		"all capabilities":     {"extd", "extd may not grant the capability all (grants:)", unit("b", with(57, manifest.AllCapabilities))},
		"root":                 {"extd", "extd runs as user 57, and so do its units", unit("b", with(0))},
		"another one's user":   {"podd", "user 52 is trustd's", unit("a", with(52))},
		"its neighbour's user": {"extd", "extd runs as user 57, and so do its units", unit("b", with(52))},
	} {
		if _, err := r.Define(r.now, tc.owner, tc.spec); !errors.Is(err, supervise.ErrBeyond) || !strings.Contains(err.Error(), tc.why) {
			t.Errorf("%s: %v", name, err)
		}
	}

	r.defineAs("podd", unit("a", with(1000, "sys_admin", "chown")), supervise.Added)
	r.defineAs("extd", unit("b", with(57, "net_admin")), supervise.Added)
}
