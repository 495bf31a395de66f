package guard

import (
	"errors"
	"strings"
	"testing"
)

func TestDecide(t *testing.T) {
	machine := Facts{PID: 1, PIDNamespace: initialPIDNamespace, Platform: "metal"}
	with := func(change func(*Facts)) Facts {
		f := machine
		change(&f)

		return f
	}

	for name, test := range map[string]struct {
		facts Facts
		want  string
	}{
		"metal":               {machine, ""},
		"nocloud":             {with(func(f *Facts) { f.Platform = "nocloud" }), ""},
		"a process of a host": {with(func(f *Facts) { f.PID = 4711 }), "PID is 4711"},
		"PID 1 of a sandbox":  {with(func(f *Facts) { f.PIDNamespace = 4026532300 }), "PID namespace"},
		"no /proc":            {with(func(f *Facts) { f.PIDNamespace = 0 }), "PID namespace"},
		"not root":            {with(func(f *Facts) { f.UID = 1000 }), "user is 1000"},
		"marked container":    {with(func(f *Facts) { f.Marked = true }), "container"},
		"platform container":  {with(func(f *Facts) { f.Platform = "container" }), `"container"`},
		"no platform":         {with(func(f *Facts) { f.Platform = "" }), `""`},
		"another platform":    {with(func(f *Facts) { f.Platform = "aws" }), ""},
	} {
		err := Decide(test.facts)

		if (err == nil) != (test.want == "") || err != nil && !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: %v, want %q", name, err, test.want)
		}

		if err != nil && !errors.Is(err, ErrNoMachine) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestAskRefusesHere proves that no test and no host process ever gets a permit.
func TestAskRefusesHere(t *testing.T) {
	permit, err := Ask()
	if !errors.Is(err, ErrNoMachine) || !errors.Is(permit.Check(), ErrNoMachine) {
		t.Fatalf("this test got a permit: %v, %v", err, permit.Check())
	}

	if err := (Permit{}).Check(); !errors.Is(err, ErrNoMachine) {
		t.Errorf("the zero permit is %v", err)
	}
}
