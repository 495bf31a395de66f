// Package node is init's picture of the node: its services, what stage of its life it is in, and the way down. It joins the
// supervisor, the event log and the published resources; one loop owns the services.
package node

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/dactyl-os/dactyl/proto/machine"
	"github.com/dactyl-os/dactyl/services/init/internal/eventlog"
	"github.com/dactyl-os/dactyl/services/init/internal/manifest"
	"github.com/dactyl-os/dactyl/services/init/internal/supervise"
	"github.com/dactyl-os/dactyl/services/kit/poke"
	"github.com/dactyl-os/dactyl/services/kit/version"
)

// stopLimit bounds the orderly way down; a node that hangs longer goes down all the same.
const stopLimit = 30 * time.Second

// Node is one node's services and stage.
type Node struct {
	// Events of the node.
	Events *eventlog.Log

	log     *slog.Logger
	loop    *supervise.Loop
	started time.Time
	// changed, served and defined wake who publishes, who checks health and who watches what units wait for.
	changed, served, defined poke.Chan
	power                    chan Power
	// goingDown is closed when the way down begins.
	goingDown chan struct{}
	// staged is closed when the stage of the way down is published.
	staged chan struct{}
	// stopLimit bounds the services' way down.
	stopLimit time.Duration

	mu    sync.Mutex
	notes []supervise.Event
	known bool
	// configured: the node has a machine configuration, if that is known.
	configured bool
	down       *Power
	settled    bool
}

// New makes a node of services that runner runs.
func New(log *slog.Logger, runner supervise.Runner, manifests []manifest.Manifest) *Node {
	n := &Node{
		Events: eventlog.New(1024), log: log, started: time.Now(),
		changed: poke.New(), served: poke.New(), defined: poke.New(), power: make(chan Power, 1), goingDown: make(chan struct{}),
		staged: make(chan struct{}), stopLimit: stopLimit,
	}
	core := supervise.New(supervise.DefaultPolicy(), manifests, n.started, n.told)
	n.loop = supervise.NewLoop(core, runner)

	return n
}

// Run keeps the services until ctx ends or a way down is asked for; that is then the error.
func (n *Node) Run(ctx context.Context) error {
	down, cancel := context.WithCancel(ctx)
	defer cancel()

	ended := make(chan error, 1)

	go func() { ended <- n.loop.Run(down, n.stopLimit) }()

	var asked *Power

	for {
		select {
		case power := <-n.power:
			asked = &power

			n.goDown(ctx, power)
			cancel()
		case err := <-ended:
			if err != nil {
				n.log.Error("services did not stop", "error", err)
			}

			if asked != nil {
				n.gone(asked)

				return asked
			}

			return nil
		}
	}
}

// told passes an event of a service on to the log and to subscribers.
func (n *Node) told(e supervise.Event) {
	n.log.Info("service", "service", e.Service, "state", e.State.String(), "event", e.Message)
	n.publish("", &machine.ServiceStateEvent{
		Service: e.Service, Action: machine.ServiceStateEvent_Action(e.State), Message: e.Message, Health: WireHealth(e.Health),
	})
	n.touch()

	switch e.State {
	case supervise.Running:
		n.served.Poke()
	case supervise.Initialized, supervise.Waiting:
		n.defined.Poke()
	}
}

func (n *Node) publish(actor string, payload proto.Message) {
	if err := n.Events.Publish(actor, payload); err != nil {
		n.log.Error("event lost", "error", err)
	}
}

// touch wakes the publisher of resources.
func (n *Node) touch() { n.changed.Poke() }

// Services gives a copy of every service, init among them.
func (n *Node) Services() []supervise.Status {
	var out []supervise.Status

	_ = n.loop.Do(func(core *supervise.Core, _ time.Time) { out = core.Status() })

	return append(out, n.self())
}

// Daemons are the names of the services that serve our protocol and are up.
func (n *Node) Daemons() []string {
	var out []string

	_ = n.loop.Do(func(core *supervise.Core, _ time.Time) {
		for _, s := range core.Serving() {
			if s.Spec.Serves() {
				out = append(out, s.Spec.Name)
			}
		}
	})

	return out
}

// self is init's own line in the list of services.
func (n *Node) self() supervise.Status {
	health := supervise.Health{Known: true, Healthy: true, Changed: n.started}

	n.mu.Lock()
	defer n.mu.Unlock()

	return supervise.Status{
		Name: "init", Version: version.Tag + " " + version.SHA, Aliases: []string{"machined"}, State: supervise.Running, PID: 1, Ready: true, Wanted: true, Health: health,
		Events: append([]supervise.Event{{
			Time: n.started, Service: "init", State: supervise.Running, Message: "Started as PID 1", Health: health,
		}}, n.notes...),
	}
}

// Note adds something that happened to the machine to init's own events.
func (n *Node) Note(message string) {
	n.mu.Lock()
	n.notes = append(n.notes, supervise.Event{
		Time: time.Now(), Service: "init", State: supervise.Running, Message: message,
		Health: supervise.Health{Known: true, Healthy: true, Changed: n.started},
	})
	n.mu.Unlock()

	n.log.Info("node", "event", message)
	n.publish("", &machine.ServiceStateEvent{
		Service: "init", Action: machine.ServiceStateEvent_RUNNING, Message: message, Health: &machine.ServiceHealth{Healthy: true},
	})
	n.touch()
}

// StopWithin bounds how long the services may take on the way down. Only before Run.
func (n *Node) StopWithin(limit time.Duration) { n.stopLimit = limit }

// ErrUnknown is a service that no manifest describes.
var ErrUnknown = errors.New("no such service")

// Request changes a service by name or alias; change is one of the core's methods.
func (n *Node) Request(name string, change supervise.Request) (string, error) {
	var (
		said string
		err  error
	)

	if down := n.loop.Do(func(core *supervise.Core, now time.Time) {
		service, known := core.Resolve(name)
		if !known {
			err = fmt.Errorf("%w: %q", ErrUnknown, name)

			return
		}

		said = change(core, now, service)
	}); down != nil {
		return "", down
	}

	return said, err
}

// Report takes a daemon's word about itself.
func (n *Node) Report(service string, state supervise.State, message string) error {
	var err error

	if down := n.loop.Do(func(core *supervise.Core, now time.Time) { err = core.Report(now, service, state, message) }); down != nil {
		return down
	}

	return err
}

// Define adds or changes a unit of the daemon owner, whose manifest has to allow it.
func (n *Node) Define(owner string, spec manifest.Manifest) (supervise.Outcome, error) {
	var (
		outcome supervise.Outcome
		err     error
	)

	if down := n.loop.Do(func(core *supervise.Core, now time.Time) { outcome, err = core.Define(now, owner, spec) }); down != nil {
		return "", down
	}

	return outcome, err
}

// Forget ends and removes a unit of the daemon owner; false when there is none.
func (n *Node) Forget(owner, name string) (bool, error) {
	var (
		found bool
		err   error
	)

	if down := n.loop.Do(func(core *supervise.Core, now time.Time) {
		if found, err = core.Forget(now, owner, name); found {
			n.touch()
		}
	}); down != nil {
		return false, down
	}

	return found, err
}

// WireHealth is a health as the API sends it.
func WireHealth(h supervise.Health) *machine.ServiceHealth {
	out := &machine.ServiceHealth{Unknown: !h.Known, Healthy: h.Healthy, LastMessage: h.Message}
	if !h.Changed.IsZero() {
		out.LastChange = timestamppb.New(h.Changed)
	}

	return out
}
