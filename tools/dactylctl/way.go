package main

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/dactyl-os/dactyl/proto/machine"
	"github.com/dactyl-os/dactyl/tools/internal/client"
)

// way is how far a node is on its way down, by the events it sends; each step is told when it begins.
type way struct {
	task atomic.Value
	tell func(doing string)
}

// follow listens from now on, until the node's stream of events ends; a node that sends none goes down without details.
func (w *way) follow(ctx context.Context, c *client.Client) {
	stream, err := c.Machine.Events(ctx, &machine.EventsRequest{TailEvents: 1})
	if err != nil {
		return
	}
	// The last event of the past says that none of those to come is missed.
	listening, first := make(chan struct{}), sync.Once{}
	go func() {
		past := true
		_ = client.Receive(c, stream, func(_ string, e *machine.Event) error {
			if !past {
				w.note(e)
			}
			past = false
			first.Do(func() { close(listening) })

			return nil
		})
		first.Do(func() { close(listening) })
	}()
	select {
	case <-listening:
	case <-time.After(look):
	case <-ctx.Done():
	}
}

func (w *way) note(e *machine.Event) {
	payload, err := decodePayload(e)
	if err != nil {
		return
	}
	switch p := payload.(type) {
	case *machine.TaskEvent:
		if p.GetAction() == machine.TaskEvent_START {
			w.begin(p.GetTask())
		}
	case *machine.PhaseEvent:
		if p.GetAction() == machine.PhaseEvent_START {
			w.begin(p.GetPhase())
		}
	}
}

func (w *way) begin(step string) {
	w.task.Store(step)
	w.tell(w.doing())
}

func (w *way) doing() string {
	if task, ok := w.task.Load().(string); ok {
		return goingDown + ": " + task
	}

	return goingDown
}
