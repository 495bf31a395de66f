package node

import (
	"log/slog"
	"syscall"
	"testing"

	"github.com/dactyl-os/dactyl/proto/resource/enums"
	"github.com/dactyl-os/dactyl/services/init/internal/manifest"
	"github.com/dactyl-os/dactyl/services/init/internal/supervise"
)

type noRunner struct{}

func (noRunner) Start(manifest.Manifest, func(string), func(supervise.Exit)) (int, error) {
	return 1, nil
}

func (noRunner) Open(manifest.Manifest) {}
func (noRunner) Withdraw(string)        {}
func (noRunner) MarkStopped(string)     {}
func (noRunner) Drop(string)            {}

func (noRunner) Signal(string, syscall.Signal, bool) {}

// TestStages goes through a node's life in order on one node.
func TestStages(t *testing.T) {
	n := New(slog.New(slog.DiscardHandler), noRunner{}, nil)
	up := supervise.Status{Name: "a", State: supervise.Running, Ready: true}
	down := supervise.Status{Name: "a", State: supervise.Waiting, Events: []supervise.Event{{Message: "Waiting for b"}}}
	failing := supervise.Status{Name: "a", State: supervise.Failed, Ready: true, Events: []supervise.Event{{Message: "cannot read it"}}}
	sick := supervise.Status{Name: "a", State: supervise.Running, Ready: true, Health: supervise.Health{Known: true}}
	skipped := supervise.Status{Name: "e", State: supervise.Skipped}

	for _, step := range []struct {
		name   string
		change func()
		reason string
		with   supervise.Status
		stage  enums.MachineStage
	}{
		{name: "nobody has said what this is", with: up, stage: enums.MachineStageBooting},
		{name: "a daemon that serves has failed", with: failing, stage: enums.MachineStageBooting, reason: "Failed: cannot read it"},
		{
			name: "no configuration", with: down, stage: enums.MachineStageMaintenance, reason: "Waiting: Waiting for b",
			change: func() { n.known = true },
		},
		{name: "configd does not say so any more", with: up, stage: enums.MachineStageBooting, change: n.doubt},
		{
			name: "configured", with: down, stage: enums.MachineStageBooting, reason: "Waiting: Waiting for b",
			change: func() { n.known, n.configured = true, true },
		},
		{name: "all up", with: up, stage: enums.MachineStageRunning},
		{name: "configd says nothing any more", with: failing, stage: enums.MachineStageRunning, reason: "Failed: cannot read it", change: n.doubt},
		{name: "one restarts", with: down, stage: enums.MachineStageRunning, reason: "Waiting: Waiting for b"},
		{name: "one is sick", with: sick, stage: enums.MachineStageRunning, reason: "Running"},
		{name: "shutdown", with: up, stage: enums.MachineStageShuttingDown, change: func() { n.down = &Power{Sequence: Shutdown} }},
		{name: "reboot", with: up, stage: enums.MachineStageRebooting, change: func() { n.down = &Power{Sequence: Reboot} }},
		{name: "reset", with: up, stage: enums.MachineStageResetting, change: func() { n.down = &Power{Sequence: Reset} }},
		{name: "upgrade", with: up, stage: enums.MachineStageUpgrading, change: func() { n.down = &Power{Sequence: Upgrade} }},
	} {
		if step.change != nil {
			step.change()
		}

		got := n.machineStatus([]supervise.Status{step.with, skipped})
		if got.Stage != step.stage || got.Status.Ready != (step.reason == "") {
			t.Errorf("%s: stage %s, ready %v", step.name, got.Stage, got.Status.Ready)
		}

		if step.reason != "" && (len(got.Status.UnmetConditions) != 1 || got.Status.UnmetConditions[0].Reason != step.reason) {
			t.Errorf("%s: unmet %+v", step.name, got.Status.UnmetConditions)
		}
	}
}

func TestOneWayDown(t *testing.T) {
	n := New(slog.New(slog.DiscardHandler), noRunner{}, nil)

	actor, err := n.GoDown(Power{Reboot: true})
	if err != nil || actor == "" {
		t.Fatalf("%q, %v", actor, err)
	}

	if _, err := n.GoDown(Power{}); err == nil {
		t.Error("a second way down was taken")
	}

	for reboot, code := range map[bool]int{true: 64, false: 0} {
		if got := (&Power{Reboot: reboot}).ExitCode(); got != code {
			t.Errorf("reboot %v: exit code %d, want %d", reboot, got, code)
		}
	}
}
