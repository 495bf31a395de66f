package power

import (
	"errors"
	"os/exec"
	"testing"
	"time"

	"github.com/dactyl-os/dactyl/services/init/internal/machine/guard"
)

// TestNothingEndsHere: no test can have a permit, and without one neither the machine nor a process ends.
func TestNothingEndsHere(t *testing.T) {
	permit, err := guard.Ask()
	if !errors.Is(err, guard.ErrNoMachine) {
		t.Fatalf("this test may end the machine: %v", err)
	}

	bystander := exec.Command("sleep", "60")
	if err := bystander.Start(); err != nil {
		t.Fatal(err)
	}

	t.Cleanup(func() {
		_ = bystander.Process.Kill()
		_ = bystander.Wait()
	})

	for name, try := range map[string]func(guard.Permit) error{
		"reboot":        func(p guard.Permit) error { return Now(p, Reboot) },
		"power off":     func(p guard.Permit) error { return Now(p, PowerOff) },
		"halt":          func(p guard.Permit) error { return Now(p, Halt) },
		"catch keys":    CatchKeys,
		"end processes": func(p guard.Permit) error { return EndProcesses(p, time.Millisecond) },
	} {
		for _, p := range []guard.Permit{permit, {}} {
			if err := try(p); !errors.Is(err, guard.ErrNoMachine) {
				t.Errorf("%s is %v", name, err)
			}
		}
	}

	if bystander.ProcessState != nil {
		t.Error("a bystander ended")
	}
}
