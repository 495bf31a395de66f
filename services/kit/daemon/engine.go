package daemon

import (
	"context"
	"fmt"
	"sync"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/cosi-project/runtime/pkg/controller"
	"github.com/cosi-project/runtime/pkg/controller/runtime"
	"github.com/cosi-project/runtime/pkg/state"

	"github.com/dactyl-os/dactyl/services/kit/internal/memo"
	"github.com/dactyl-os/dactyl/services/kit/zapslog"
)

// engine is cosi's controller runtime over the routed state; daemons without controllers do not start one.
type engine struct {
	env     *Env
	runtime *runtime.Runtime
	parsed  memo.Memo

	mu      sync.Mutex
	running []controller.Runtime
}

func (e *engine) get() (*runtime.Runtime, error) {
	if e.runtime != nil {
		return e.runtime, nil
	}

	// Types of other daemons are read from what their watches told.
	st := e.env.State
	if e.env.router != nil {
		st = state.WrapCore(e.env.router.Cached(e.env.Patience, e.wake))
	}

	var err error

	e.runtime, err = runtime.NewRuntime(st, zapslog.New(e.env.Log, zapslog.Options{Least: zapcore.DebugLevel}))
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

	return rt.RegisterController(&observed{Controller: c, engine: e, firstPass: e.env.settle.hold()})
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

// wake runs every controller again: an owner has told what one of them asked for in vain. When that is nothing, there is no
// event of it.
func (e *engine) wake() {
	e.mu.Lock()
	defer e.mu.Unlock()

	for _, rt := range e.running {
		rt.QueueReconcile()
	}
}

func (e *engine) started(rt controller.Runtime) {
	e.mu.Lock()
	defer e.mu.Unlock()

	e.running = append(e.running, rt)
}

// observed notices when a controller has been through its loop once: it says so, or comes back for its next event.
type observed struct {
	controller.Controller

	engine    *engine
	firstPass func()
	known     sync.Once
}

// Run runs the controller; cosi calls it again when it failed.
func (o *observed) Run(ctx context.Context, rt controller.Runtime, log *zap.Logger) error {
	o.known.Do(func() { o.engine.started(rt) })

	return o.Controller.Run(ctx, &observedRuntime{Runtime: rt, Memo: &o.engine.parsed, firstPass: o.firstPass}, log)
}

// observedRuntime is what a controller works with; all of a daemon share what is parsed.
type observedRuntime struct {
	controller.Runtime
	*memo.Memo

	firstPass func()
	asked     bool // by the controller's own goroutine
}

// EventCh is asked for at the top of most controllers' loops.
func (o *observedRuntime) EventCh() <-chan controller.ReconcileEvent {
	if o.asked {
		o.firstPass()
	}

	o.asked = true

	return o.Runtime.EventCh()
}

// ResetRestartBackoff is called at the end of a pass, also by controllers that ask for the channel once.
func (o *observedRuntime) ResetRestartBackoff() {
	o.firstPass()
	o.Runtime.ResetRestartBackoff()
}
