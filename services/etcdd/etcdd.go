// Package etcdd owns the etcd member of a control plane node.
package etcdd

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"sync/atomic"
	"time"

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

// suspicious is how many crashes in a row have the data checked.
const suspicious = 2

// New wires the daemon.
func New(env *daemon.Env) error {
	changed := poke.New()
	inConfig, inSpec := &sentence{changed: changed}, &sentence{changed: changed}
	inSpec.set("waiting for the machine configuration", false)

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
		env.Controller(&controllers.Config{Wrong: inConfig.set}),
		env.Controller(&controllers.Spec{IfInet6: env.Path("proc", "net", "if_inet6"), Missing: inSpec.set}),
		env.Controller(pki),
		env.Controller(&controllers.Member{
			Keeper: keep, Changed: changed, DataDir: dataDir, Keys: pki.Keys(), Missing: first(inConfig, inSpec),
			OnDisk: env.OwnMachine(parameters.Last(cmdline.Platform)),
		}),
	)
}

// resume goes on where the last run was: what readers saw of its member stays, and callers wait for it.
func resume(env *daemon.Env, keep *keeper.Keeper, last lastrun.Run, data engine.Data) error {
	if last.Ended {
		keep.ByHand()
	}

	if last.Again(time.Now()) >= suspicious {
		keep.Suspect()
	}

	if state, _, err := data.State(); err != nil || state != plan.DataPresent {
		return nil //nolint:nilerr // the keeper looks again, and tells
	}

	keep.Resume(last.Member)

	return controllers.PublishMember(context.Background(), env.Local(), last.Member)
}

func stateOf(s keeper.Status) string {
	switch {
	case s.Failed:
		return "Failed"
	case s.Ready:
		return "Running"
	default:
		return "Preparing"
	}
}

// sentence says why there is no specification of the member, or none that follows the configuration.
type sentence struct {
	changed poke.Chan
	words   atomic.Pointer[words]
}

type words struct {
	text string
	// wrong: time does not mend it.
	wrong bool
}

// first gives the first of the sentences that says something.
func first(sentences ...*sentence) func() (text string, wrong bool) {
	return func() (string, bool) {
		for _, s := range sentences {
			if w := s.words.Load(); w != nil && w.text != "" {
				return w.text, w.wrong
			}
		}

		return "", false
	}
}

func (s *sentence) set(text string, wrong bool) {
	next := words{text, wrong}
	if old := s.words.Swap(&next); old == nil || *old != next {
		s.changed.Poke()
	}
}
