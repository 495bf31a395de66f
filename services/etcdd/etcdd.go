// Package etcdd owns the etcd member of a control plane node.
package etcdd

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"sync/atomic"

	"github.com/dactyl-os/dactyl/proto/machine"
	"github.com/dactyl-os/dactyl/services/kit/cmdline"
	"github.com/dactyl-os/dactyl/services/kit/daemon"
	"github.com/dactyl-os/dactyl/services/kit/poke"
	"github.com/dactyl-os/dactyl/services/kit/report"

	"github.com/dactyl-os/dactyl/services/etcdd/internal/controllers"
	"github.com/dactyl-os/dactyl/services/etcdd/internal/engine"
	"github.com/dactyl-os/dactyl/services/etcdd/internal/keeper"
	"github.com/dactyl-os/dactyl/services/etcdd/internal/lastrun"
	"github.com/dactyl-os/dactyl/services/etcdd/internal/operators"
	"github.com/dactyl-os/dactyl/services/etcdd/internal/plan"
)

// New wires the daemon.
func New(env *daemon.Env) error {
	changed := poke.New()
	missing := &sentence{changed: changed}
	missing.set("waiting for the machine configuration")

	reporter := report.New(env)
	dataDir := env.Path("var", "lib", "etcd")

	last, run, err := lastrun.Begin(env.RunFile("run.json"))
	if err != nil {
		env.Log.Warn("memory of the last run", "error", err)
	}

	keep := keeper.New(env.Log, func(s keeper.Status) {
		env.Log.Info("etcd status", "message", s.Message, "ready", s.Ready, "learner", s.Learner)
		reporter.Tell(stateOf(s), s.Message)
		changed.Poke()

		if err := run.Member(s.Member); err != nil {
			env.Log.Warn("memory of this run", "error", err)
		}
	})

	if err := resume(env, keep, last, engine.Data{Dir: dataDir}); err != nil {
		return err
	}

	parameters, err := cmdline.Read(env.Root)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("read kernel command line: %w", err)
	}

	pki := &controllers.PKI{Dir: env.Path("system", "secrets", "etcd")}

	machine.RegisterMachineServiceServer(env.Server(), &operators.Server{Keeper: keep, Log: env.Log})
	env.Go("member", func(ctx context.Context) error {
		err := keep.Run(ctx)

		// Another cause is a failure of the daemon's, and no end in order.
		if cause := context.Cause(ctx); err != nil || !errors.Is(cause, context.Canceled) {
			return err
		}

		return run.End()
	})
	env.Go("report", reporter.Run)

	return errors.Join(
		env.Controller(&controllers.Config{Missing: missing.set}),
		env.Controller(&controllers.Spec{IfInet6: env.Path("proc", "net", "if_inet6"), Missing: missing.set}),
		env.Controller(pki),
		env.Controller(&controllers.Member{
			Keeper: keep, Changed: changed, DataDir: dataDir, Keys: pki.Keys(), Missing: missing.get,
			OnDisk: env.OwnMachine(parameters.Last(cmdline.Platform)),
		}),
	)
}

// resume goes on where the last run was: what readers saw of its member stays, and callers wait for it.
func resume(env *daemon.Env, keep *keeper.Keeper, last lastrun.Run, data engine.Data) error {
	if last.Ended {
		keep.ByHand()
	}

	if state, _, err := data.State(); err != nil || state != plan.DataPresent {
		return nil //nolint:nilerr // the keeper looks again, and tells
	}

	keep.Resume(last.Member)

	return controllers.PublishMember(context.Background(), env.Local(), last.Member)
}

func stateOf(s keeper.Status) string {
	switch {
	case s.Ready:
		return "Running"
	case s.Failed:
		return "Failed"
	default:
		return "Preparing"
	}
}

// sentence says why there is no specification of the member.
type sentence struct {
	changed poke.Chan
	text    atomic.Pointer[string]
}

func (s *sentence) get() string { return *s.text.Load() }

func (s *sentence) set(text string) {
	if old := s.text.Swap(&text); old == nil || *old != text {
		s.changed.Poke()
	}
}
