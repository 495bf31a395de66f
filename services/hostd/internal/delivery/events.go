package delivery

import (
	"context"
	"log/slog"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/dactyl-os/dactyl/proto/events"
	"github.com/dactyl-os/dactyl/proto/machine"
)

// publish is the receiver's method.
const publish = "/events.EventSinkService/Publish"

// Events sends the node's events to one receiver.
type Events struct {
	// Endpoint is HOST:PORT.
	Endpoint string
	// Init connects to the daemon that has the events.
	Init func() (*grpc.ClientConn, error)
	// Sent is a file for the id of the last event that arrived.
	Sent string
	Log  *slog.Logger
}

// Run until ctx ends.
func (e *Events) Run(ctx context.Context) {
	sent := openMark(e.Sent)

	keep(ctx, e.Log, "events", e.Endpoint, func(ctx context.Context) error {
		defer sent.save()

		return e.session(ctx, sent)
	})
}

func (e *Events) session(ctx context.Context, sent *mark) error {
	// As in the contract: who wants it private puts the receiver behind a tunnel.
	receiver, err := grpc.NewClient(e.Endpoint, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return err
	}
	defer receiver.Close()

	source, err := e.Init()
	if err != nil {
		return err
	}

	ctx, cancel := context.WithCancel(ctx)
	defer cancel()

	query := &machine.EventsRequest{TailId: sent.value}
	if sent.value == "" {
		query.TailEvents = -1
	}

	stream, err := machine.NewMachineServiceClient(source).Events(ctx, query)
	if err != nil {
		return err
	}

	for {
		event, err := stream.Recv()
		if err != nil {
			return err
		}

		if err := send(ctx, receiver, event); err != nil {
			return err
		}

		sent.set(event.GetId())
	}
}

func send(ctx context.Context, receiver *grpc.ClientConn, event *machine.Event) error {
	ctx, cancel := context.WithTimeout(ctx, sendWithin)
	defer cancel()

	return receiver.Invoke(ctx, publish, &events.EventRequest{Data: event.GetData(), Id: event.GetId()}, &events.EventResponse{})
}
