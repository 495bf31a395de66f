package e2e

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/dactyl-os/dactyl/proto/machine"
	"github.com/dactyl-os/dactyl/services/kit/kittest"
	"github.com/dactyl-os/dactyl/tools/internal/outside"
)

const configPath = "/system/state/config.yaml"

// freeKills in a minute are no loop yet; a restart by hand forgets them.
const freeKills = 20

func storedConfig(t *testing.T, node string) string {
	t.Helper()
	var text string
	kittest.AwaitNoError(t, time.Minute, func() error {
		r := outside.Dactylctl(t.Context(), "-n", node, "read", configPath)
		text = r.Stdout
		if r.Err != nil {
			return fmt.Errorf("%s", r)
		}

		return nil
	})

	return text
}

// withLabel gives a configuration that differs from base in one node label.
func withLabel(t *testing.T, base, value string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "config.yaml")
	if err := os.WriteFile(file, []byte(base), 0o600); err != nil {
		t.Fatal(err)
	}

	return ctl(t, "machineconfig", "patch", file, "--patch", fmt.Sprintf(`{"machine":{"nodeLabels":{"e2e":%q}}}`, value))
}

func apply(t *testing.T, node, config string, mode machine.ApplyConfigurationRequest_Mode, tryFor time.Duration) error {
	t.Helper()
	ctx, cancel := context.WithTimeout(outside.Node(context.WithoutCancel(t.Context()), node), callDeadline)
	defer cancel()
	_, err := machine.NewMachineServiceClient(dial(t, controlPlanes[0], false)).ApplyConfiguration(ctx,
		&machine.ApplyConfigurationRequest{Data: []byte(config), Mode: mode, TryModeTimeout: durationpb.New(tryFor)})

	return err
}

func restore(t *testing.T, node, config string) {
	t.Cleanup(func() {
		kittest.AwaitNoError(t, time.Minute, func() error {
			return apply(t, node, config, machine.ApplyConfigurationRequest_NO_REBOOT, 0)
		})
	})
}

// TestKillConfigdWhileApplying kills configd around applies: the file is the old or the new one, and the node comes up.
func TestKillConfigdWhileApplying(t *testing.T) {
	const applies = 200
	node := worker
	namespace := netns(t, node)
	old := storedConfig(t, node)
	restore(t, node, old)
	for i := range applies {
		next := withLabel(t, old, fmt.Sprint(i))
		if i%freeKills == freeKills-1 {
			ctl(t, "-n", node, "service", "configd", "restart")
		}
		awaitServing(t, node, "configd")
		pid := awaitPID(t, namespace, "configd")
		applied := make(chan error, 1)
		go func() { applied <- apply(t, node, next, machine.ApplyConfigurationRequest_NO_REBOOT, 0) }()
		time.Sleep(time.Duration(i%20) * time.Millisecond) // the moment of the kill moves through the apply
		kill9(t, pid)
		err := <-applied
		for _, when := range []string{"after the kill", "once configd was back"} {
			stored := storedConfig(t, node)
			if stored != old && stored != next {
				t.Fatalf("apply %d: %s the stored file is neither the old nor the new one:\n%s", i, when, stored)
			}
			if err == nil && stored != next {
				t.Fatalf("apply %d was acknowledged and is lost", i)
			}
			// The kill may have come between the configuration's copy and the file: configd ends what was begun.
			awaitServing(t, node, "configd")
		}
		old = storedConfig(t, node)
	}
	restarts := fmt.Sprintf("%d kills", applies)
	boot := bootID(t, node)
	ctl(t, "-n", node, "reboot")
	if now := bootID(t, node); now == boot {
		t.Errorf("after %s the node did not reboot", restarts)
	}
	if got := storedConfig(t, node); got != old {
		t.Errorf("the node came up with another configuration after %s", restarts)
	}
}

func awaitServing(t *testing.T, node, daemon string) {
	t.Helper()
	kittest.AwaitNoError(t, time.Minute, func() error {
		if r := outside.Dactylctl(t.Context(), "-n", node, "service", daemon); !strings.Contains(r.Stdout, "STATE    Running") {
			return fmt.Errorf("%s does not serve: %s", daemon, r)
		}

		return nil
	})
}

func TestTryReverts(t *testing.T) {
	node := worker
	namespace := netns(t, node)
	for name, disturb := range map[string]func(*testing.T){
		"configd-killed": func(t *testing.T) { kill9(t, awaitPID(t, namespace, "configd")) },
		"node-restarted": func(t *testing.T) { kill9(t, awaitPID(t, namespace, "init")) },
	} {
		t.Run(name, func(t *testing.T) {
			old := storedConfig(t, node)
			tried := withLabel(t, old, "tried-"+name)
			const tryFor = 8 * time.Second
			start := time.Now()
			if err := apply(t, node, tried, machine.ApplyConfigurationRequest_TRY, tryFor); err != nil {
				t.Fatal(err)
			}
			if active := ctl(t, "-n", node, "get", "machineconfig", "v1alpha1", "-o", "yaml"); !strings.Contains(active, "tried-"+name) {
				t.Fatalf("the tried configuration is not active:\n%s", active)
			}
			disturb(t)
			kittest.AwaitNoError(t, time.Minute, func() error {
				r := outside.Dactylctl(t.Context(), "-n", node, "get", "machineconfig", "v1alpha1", "-o", "yaml")
				if r.Err != nil || strings.Contains(r.Stdout, "tried-"+name) {
					return fmt.Errorf("not reverted: %s", r)
				}

				return nil
			})
			if took := time.Since(start); took < tryFor-time.Second {
				t.Errorf("reverted after %s, before its time-out of %s", took, tryFor)
			}
			if got := storedConfig(t, node); got != old {
				t.Errorf("the stored configuration is not the old one:\n%s", got)
			}
		})
	}
}

func TestBadConfigurationChangesNothing(t *testing.T) {
	node := worker
	old := storedConfig(t, node)
	for name, bad := range map[string]string{
		"unknown field": old + "\nnonsense: true\n",
		"not YAML":      "machine: [",
		"empty":         "",
		"no type":       strings.Replace(old, "type: worker", "type: nonsense", 1),
	} {
		if err := apply(t, node, bad, machine.ApplyConfigurationRequest_AUTO, 0); err == nil {
			t.Errorf("%s was accepted", name)
		} else {
			t.Logf("%s: %v", name, err)
		}
		if got := storedConfig(t, node); got != old {
			t.Fatalf("%s changed the stored configuration", name)
		}
	}
}
