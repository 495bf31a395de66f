package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"google.golang.org/protobuf/proto"

	"github.com/dactyl-os/dactyl/proto/machine"
	"github.com/dactyl-os/dactyl/tools/internal/client"
)

type eventFlags struct {
	tail     int32
	duration time.Duration
	since    string
	actor    string
}

func (a *app) eventsCommand() *cobra.Command {
	var f eventFlags
	cmd := &cobra.Command{
		Use:     "events",
		Short:   "Print what happens on nodes, as it happens",
		Args:    cobra.NoArgs,
		Example: "  dactylctl -n 10.5.0.2 events --tail 20\n  dactylctl -n 10.5.0.2,10.5.0.3 events --duration 1h",
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.connect(cmd, func(ctx context.Context, c *client.Client) error {
				fmt.Fprintf(a.out, eventFormat, "NODE", "ID", "EVENT", "ACTOR", "SOURCE", "MESSAGE")
				req := &machine.EventsRequest{TailEvents: f.tail, TailId: f.since, TailSeconds: int32(f.duration.Seconds()), WithActorId: f.actor}

				return followNodes(ctx, c, a.out, true, func(ctx context.Context, w *lineWriter) error {
					w.prefix = "" // the line names the node

					return streamEvents(ctx, c, w.node, req, w)
				})
			})
		},
	}
	cmd.Flags().Int32Var(&f.tail, "tail", 0, "events to show from the past (-1: all that are kept)")
	cmd.Flags().DurationVar(&f.duration, "duration", 0, "show events of this long ago, and new ones")
	cmd.Flags().StringVar(&f.since, "since", "", "show events after this event's ID (default is to show no history)")
	cmd.Flags().StringVar(&f.actor, "actor-id", "", "show events of one action only (default is no filter)")

	return cmd
}

// eventFormat leaves room for the usual cell; events come one by one, so the
// widths cannot follow the content.
const eventFormat = "%-15s %-20s %-28s %-10s %-18s %s\n"

// streamEvents goes on behind the last event received when the node's gateway or init's socket was away.
func streamEvents(ctx context.Context, c *client.Client, node string, req *machine.EventsRequest, w io.Writer) error {
	return client.Again(ctx, func() (bool, error) {
		stream, err := c.Machine.Events(ctx, req)
		if err != nil {
			return false, err
		}
		received := false
		err = client.Receive(c, stream, func(_ string, e *machine.Event) error {
			received = true
			req = &machine.EventsRequest{TailId: e.GetId(), WithActorId: req.GetWithActorId()}
			name, source, message := describeEvent(e)
			_, err := fmt.Fprintf(w, eventFormat, node, e.GetId(), name, e.GetActorId(), source, message)

			return err
		})
		if err == nil {
			err = errors.New("the node ended the stream of events")
		}

		return received, err
	})
}

// describeEvent puts an event's payload into words.
func describeEvent(e *machine.Event) (name, source, message string) {
	typeURL := e.GetData().GetTypeUrl()
	name = typeURL[strings.LastIndexByte(typeURL, '.')+1:]
	payload, err := decodePayload(e)
	if err != nil {
		return name, "", err.Error()
	}
	switch p := payload.(type) {
	case *machine.SequenceEvent:
		message = strings.ToLower(p.GetAction().String())
		if p.GetError() != nil {
			message = fmt.Sprintf("error: [%s] %s", p.GetError().GetCode(), p.GetError().GetMessage())
		}

		return name, p.GetSequence(), message
	case *machine.PhaseEvent:
		return name, p.GetPhase(), strings.ToLower(p.GetAction().String())
	case *machine.TaskEvent:
		return name, p.GetTask(), strings.ToLower(p.GetAction().String())
	case *machine.ServiceStateEvent:
		return name, p.GetService(), p.GetAction().String() + ": " + oneLine(p.GetMessage())
	case *machine.RestartEvent:
		return name, "", fmt.Sprintf("reboot command %d", p.GetCmd())
	case *machine.ConfigLoadErrorEvent:
		return name, "", oneLine(p.GetError())
	case *machine.ConfigValidationErrorEvent:
		return name, "", oneLine(p.GetError())
	case *machine.AddressEvent:
		return name, p.GetHostname(), "addresses: " + strings.Join(p.GetAddresses(), ", ")
	case *machine.MachineStatusEvent:
		var unmet []string
		for _, u := range p.GetStatus().GetUnmetConditions() {
			unmet = append(unmet, u.GetName()+": "+u.GetReason())
		}
		message = fmt.Sprintf("stage %s, ready %v", strings.ToLower(p.GetStage().String()), p.GetStatus().GetReady())
		if len(unmet) > 0 {
			message += ", unmet: " + strings.Join(unmet, "; ")
		}

		return name, "", oneLine(message)
	}

	return name, "", ""
}

func decodePayload(e *machine.Event) (proto.Message, error) {
	if e.GetData() == nil {
		return nil, errors.New("an event without content")
	}

	return e.GetData().UnmarshalNew()
}
