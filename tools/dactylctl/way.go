package main

import (
	"context"
	"sync/atomic"

	"github.com/dactyl-os/dactyl/proto/machine"
	"github.com/dactyl-os/dactyl/tools/internal/client"
)

// way is how far a node is on its way down, by the events it sends.
type way struct{ task atomic.Value }

// follow listens from now on, until the node's stream of events ends; a node that sends none goes down without details.
func (w *way) follow(ctx context.Context, c *client.Client) {
	stream, err := c.Machine.Events(ctx, &machine.EventsRequest{})
	if err != nil {
		return
	}
	go func() {
		_ = client.Receive(c, stream, func(_ string, e *machine.Event) error {
			w.note(e)

			return nil
		})
	}()
}

func (w *way) note(e *machine.Event) {
	payload, err := decodePayload(e)
	if err != nil {
		return
	}
	switch p := payload.(type) {
	case *machine.TaskEvent:
		if p.GetAction() == machine.TaskEvent_START {
			w.task.Store(p.GetTask())
		}
	case *machine.PhaseEvent:
		if p.GetAction() == machine.PhaseEvent_START {
			w.task.Store(p.GetPhase())
		}
	}
}

func (w *way) doing() string {
	if task, ok := w.task.Load().(string); ok {
		return goingDown + ": " + task
	}

	return goingDown
}
