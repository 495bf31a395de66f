// Package etcdd owns the etcd member of a control plane node.
package etcdd

import (
	"errors"
	"fmt"
	"io/fs"
	"sync/atomic"

	"github.com/dactyl-os/dactyl/proto/machine"
	"github.com/dactyl-os/dactyl/services/kit/cmdline"
	"github.com/dactyl-os/dactyl/services/kit/daemon"
	"github.com/dactyl-os/dactyl/services/kit/report"

	"github.com/dactyl-os/dactyl/services/etcdd/internal/controllers"
	"github.com/dactyl-os/dactyl/services/etcdd/internal/engine"
	"github.com/dactyl-os/dactyl/services/etcdd/internal/keeper"
	"github.com/dactyl-os/dactyl/services/etcdd/internal/operators"
	"github.com/dactyl-os/dactyl/services/etcdd/internal/plan"
)

// New wires the daemon.
func New(env *daemon.Env) error {
	changed := make(chan struct{}, 1)
	missing := &sentence{changed: changed}
	missing.set("waiting for the machine configuration")

	reporter := report.New(env)
	keep := keeper.New(env.Log, func(s keeper.Status) {
		env.Log.Info("etcd status", "message", s.Message, "ready", s.Ready, "learner", s.Learner)
		reporter.Tell(stateOf(s), s.Message)
		poke(changed)
	})
	dataDir := env.Path("var", "lib", "etcd")

	if state, _, err := (engine.Data{Dir: dataDir}).State(); err == nil && state == plan.DataPresent {
		keep.Resume()
	}

	parameters, err := cmdline.Read(env.Root)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("read kernel command line: %w", err)
	}

	pki := &controllers.PKI{Dir: env.Path("system", "secrets", "etcd")}

	machine.RegisterMachineServiceServer(env.Server(), &operators.Server{Keeper: keep, Log: env.Log})
	env.Go("member", keep.Run)
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

func stateOf(s keeper.Status) string {
	if s.Ready {
		return "Running"
	}

	return "Preparing"
}

// sentence says why there is no specification of the member.
type sentence struct {
	changed chan struct{}
	text    atomic.Pointer[string]
}

func (s *sentence) get() string { return *s.text.Load() }

func (s *sentence) set(text string) {
	if old := s.text.Swap(&text); old == nil || *old != text {
		poke(s.changed)
	}
}

func poke(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
