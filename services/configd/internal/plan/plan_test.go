package plan_test

import (
	"fmt"
	"reflect"
	"strings"
	"testing"

	"github.com/dactyl-os/dactyl/proto/config"
	"github.com/dactyl-os/dactyl/proto/config/diff"
	"github.com/dactyl-os/dactyl/services/configd/internal/plan"
)

func TestJudge(t *testing.T) {
	for _, c := range []struct{ before, after, want string }{
		{"machine: {network: {hostname: a}}", "machine: {network: {hostname: b}}", "discoveryd networkd trustd; reboot:"},
		{"machine: {}", "machine: {network: {interfaces: [{interface: eth0}]}}", "networkd; reboot:"},
		{"machine: {sysctls: {a.b: '1'}}", "machine: {sysctls: {a.b: '2'}, time: {servers: [a]}}", "hostd networkd timed; reboot:"},
		{"machine: {}", "machine: {files: [{path: /a, content: b}]}", "hostd; reboot: machine.files"},
		{"machine: {type: worker}", "machine: {type: controlplane}", "init; reboot: machine.type"},
		{"machine: {}", "machine: {features: {rbac: true, kubePrism: {enabled: true}}}", "gateway podd; reboot: machine.features.rbac"},
		{"cluster: {}", "cluster: {etcd: {ca: {crt: a}}}", "etcdd trustd; reboot:"},
		{"machine: {}", "machine: {}\n---\nkind: NetworkRuleConfig\nname: x", "networkd; reboot:"},
		{"debug: false", "debug: true", "; reboot:"},
		{"machine: {}", "machine: {}", "; reboot:"},
	} {
		before, err := config.Parse([]byte(c.before))
		if err != nil {
			t.Fatal(err)
		}

		after, err := config.Parse([]byte(c.after))
		if err != nil {
			t.Fatal(err)
		}

		e := plan.Judge(diff.Changes(before, after))
		if got := strings.Join(e.Daemons, " ") + strings.TrimRight("; reboot: "+strings.Join(e.Reboot, " "), " "); got != c.want {
			t.Errorf("%s → %s: got %q, want %q", c.before, c.after, got, c.want)
		}
	}
}

// Every section of the schema has somebody who acts on it.
func TestEverySectionHasADaemon(t *testing.T) {
	for section, typ := range map[string]reflect.Type{"machine": reflect.TypeFor[config.MachineConfig](), "cluster": reflect.TypeFor[config.ClusterConfig]()} {
		for i := range typ.NumField() {
			name, _, _ := strings.Cut(typ.Field(i).Tag.Get("yaml"), ",")
			if effects := plan.Judge([]diff.Change{{Document: "v1alpha1", Path: section + "." + name}}); len(effects.Daemons) == 0 {
				t.Errorf("nobody acts on %s.%s", section, name)
			}
		}
	}
}

// Every daemon that the table names is one that the design knows.
func TestDaemonsExist(t *testing.T) {
	known := "init gateway configd diskd hostd networkd timed trustd discoveryd etcdd podd extd watchdogd"

	for _, daemon := range plan.Judge(plan.AllChanges()).Daemons {
		if !strings.Contains(known, daemon) {
			t.Errorf("%s is not in the design", daemon)
		}
	}
}

func TestDecide(t *testing.T) {
	reboot := plan.Effects{Reboot: []string{"machine.type"}}

	for _, c := range []struct {
		mode       plan.Mode
		configured bool
		effects    plan.Effects
		want       string
	}{
		{plan.Auto, true, plan.Effects{}, "activate"},
		{plan.Auto, true, reboot, "stage and reboot"},
		{plan.Auto, false, reboot, "activate"},
		{plan.NoReboot, true, plan.Effects{}, "activate"},
		{plan.NoReboot, true, reboot, "mode no-reboot cannot apply changes that need a reboot: machine.type (hint: use mode reboot, staged or auto)"},
		{plan.Try, true, plan.Effects{}, "activate for a while"},
		{plan.Try, true, reboot, "mode try cannot apply changes that need a reboot: machine.type (hint: use mode reboot, staged or auto)"},
		{plan.Try, false, plan.Effects{}, plan.ErrNothingToFallBackTo.Error()},
		{plan.Staged, true, plan.Effects{}, "stage"},
		{plan.Reboot, true, plan.Effects{}, "stage and reboot"},
		{plan.Reboot, false, plan.Effects{}, "activate"},
		{plan.Mode(9), true, plan.Effects{}, "unknown mode 9"},
	} {
		action, err := plan.Decide(c.mode, c.configured, c.effects)

		got := action.String()
		if err != nil {
			got = err.Error()
		}

		if got != c.want {
			t.Errorf("mode %d, configured %v, %s: got %q, want %q", c.mode, c.configured, fmt.Sprint(c.effects.Reboot), got, c.want)
		}
	}
}
