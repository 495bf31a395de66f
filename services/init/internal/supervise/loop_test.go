package supervise_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/dactyl-os/dactyl/services/init/internal/manifest"
	"github.com/dactyl-os/dactyl/services/init/internal/supervise"
)

// fakeRunner makes processes that serve at once and end when they are told to.
type fakeRunner struct {
	exits    map[string]func(supervise.Exit)
	did      []string
	mu       sync.Mutex
	stubborn bool
}

func (f *fakeRunner) Open(manifest.Manifest) {}
func (f *fakeRunner) Drop(string)            {}

func (f *fakeRunner) Start(spec manifest.Manifest, ready func(version string), exited func(supervise.Exit)) (int, error) {
	service := spec.Name

	f.mu.Lock()
	defer f.mu.Unlock()

	f.did = append(f.did, "start "+service)
	f.exits[service] = exited

	go ready("")

	return 7, nil
}

func (f *fakeRunner) Signal(service string, signal syscall.Signal, _ bool) {
	f.mu.Lock()
	defer f.mu.Unlock()

	f.did = append(f.did, signal.String()+" "+service)

	if !f.stubborn {
		go f.exits[service](supervise.Exit{Status: "exit status 0", Success: true})
	}
}

func (f *fakeRunner) Withdraw(service string) {
	f.mu.Lock()
	defer f.mu.Unlock()

	f.did = append(f.did, "withdraw "+service)
}

func (f *fakeRunner) MarkStopped(service string) {
	f.mu.Lock()
	defer f.mu.Unlock()

	f.did = append(f.did, "mark "+service)
}

func (f *fakeRunner) done() string {
	f.mu.Lock()
	defer f.mu.Unlock()

	return strings.Join(f.did, ", ")
}

func startLoop(t *testing.T, runner *fakeRunner, limit time.Duration) (stop func() error) {
	t.Helper()

	manifests := []manifest.Manifest{
		{Name: "a", StopTimeout: time.Hour},
		{Name: "b", Needs: []string{"a"}, StopTimeout: time.Hour},
	}
	loop := supervise.NewLoop(supervise.New(supervise.DefaultPolicy(), manifests, time.Now(), func(supervise.Event) {}), runner)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)

	go func() { ended <- loop.Run(ctx, limit) }()

	deadline := time.Now().Add(10 * time.Second)
	for up := false; !up; {
		if err := loop.Do(func(core *supervise.Core, _ time.Time) {
			up = !slices.ContainsFunc(core.Status(), func(s supervise.Status) bool { return !s.Ready })
		}); err != nil {
			t.Fatal(err)
		}

		if time.Now().After(deadline) {
			t.Fatal("services do not come up")
		}
	}

	return func() error {
		cancel()

		err := <-ended
		if down := loop.Do(func(*supervise.Core, time.Time) {}); !errors.Is(down, supervise.ErrDown) {
			t.Errorf("a request after the end: %v", down)
		}

		return err
	}
}

func TestLoopCarriesOut(t *testing.T) {
	runner := &fakeRunner{exits: map[string]func(supervise.Exit){}}
	stop := startLoop(t, runner, time.Minute)

	if err := stop(); err != nil {
		t.Error(err)
	}

	if got, want := runner.done(), "start a, start b, terminated b, terminated a"; got != want {
		t.Errorf("did %s, want %s", got, want)
	}
}

func TestLoopGivesUpOnTheStubborn(t *testing.T) {
	runner := &fakeRunner{exits: map[string]func(supervise.Exit){}, stubborn: true}
	stop := startLoop(t, runner, 50*time.Millisecond)

	if err := stop(); err == nil || err.Error() != "still running after 50ms: a, b" {
		t.Error(err)
	}
}
