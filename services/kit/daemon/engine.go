package daemon

import (
	"context"
	"fmt"
	"sync/atomic"

	"go.uber.org/zap"

	"github.com/cosi-project/runtime/pkg/controller"
	"github.com/cosi-project/runtime/pkg/controller/runtime"

	"github.com/dactyl-os/dactyl/services/kit/internal/zapslog"
)

// engine is cosi's controller runtime over the routed state; daemons without controllers do not start one.
type engine struct {
	env     *Env
	runtime *runtime.Runtime
}

func (e *engine) get() (*runtime.Runtime, error) {
	if e.runtime != nil {
		return e.runtime, nil
	}

	var err error

	e.runtime, err = runtime.NewRuntime(e.env.State, zapslog.New(e.env.Log))
	if err != nil {
		return nil, fmt.Errorf("make controller runtime: %w", err)
	}

	return e.runtime, nil
}

func (e *engine) register(c controller.Controller) error {
	if err := e.check(c.Name(), c.Outputs()); err != nil {
		return err
	}

	rt, err := e.get()
	if err != nil {
		return err
	}

	return rt.RegisterController(&observed{c, e.env.settle.hold()})
}

func (e *engine) registerQ(c controller.QController) error {
	if err := e.check(c.Name(), c.Settings().Outputs); err != nil {
		return err
	}

	rt, err := e.get()
	if err != nil {
		return err
	}

	return rt.RegisterQController(c)
}

// check refuses outputs of other daemons: a type has one owner.
func (e *engine) check(name string, outputs []controller.Output) error {
	for _, out := range outputs {
		def, ok := e.env.states.Lookup(out.Type)
		if ok && def.Owner != e.env.Name && !e.env.Alone() {
			return fmt.Errorf("controller %s has the output %s, which is owned by %s", name, out.Type, def.Owner)
		}
	}

	return nil
}

// observed notices when a controller has been through its loop once: it comes back for its next event.
type observed struct {
	controller.Controller

	firstPass func()
}

// Run runs the controller.
func (o *observed) Run(ctx context.Context, rt controller.Runtime, log *zap.Logger) error {
	return o.Controller.Run(ctx, &observedRuntime{Runtime: rt, firstPass: o.firstPass}, log)
}

type observedRuntime struct {
	controller.Runtime

	firstPass func()
	asked     atomic.Int32
}

// EventCh is asked for at the top of every controller's loop.
func (o *observedRuntime) EventCh() <-chan controller.ReconcileEvent {
	if o.asked.Add(1) == 2 {
		o.firstPass()
	}

	return o.Runtime.EventCh()
}
