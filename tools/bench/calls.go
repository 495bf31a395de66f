package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/cosi-project/runtime/api/v1alpha1"
	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/types/known/emptypb"

	"github.com/dactyl-os/dactyl/proto/machine"
	"github.com/dactyl-os/dactyl/tools/internal/outside"
)

// inside gives a way to the sockets inside a node, past the gateway: this program again, there.
func inside(ctx context.Context, node string) (*outside.Door, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}

	return outside.OpenDoor(ctx, node, outside.RootsTools, self, doorArgument)
}

// ways are two connections to a daemon of the entry node: straight to its socket, and through the gateway.
type ways struct {
	socket, gateway *grpc.ClientConn
	door            *outside.Door
}

func open(ctx context.Context, daemon string) (*ways, error) {
	gateway, err := outside.Dial(entry, false)
	if err != nil {
		return nil, err
	}
	door, err := inside(ctx, entry)
	if err != nil {
		return nil, errors.Join(err, gateway.Close())
	}
	socket, err := door.Conn(daemon)
	if err != nil {
		door.Close()

		return nil, errors.Join(err, gateway.Close())
	}

	return &ways{socket, gateway, door}, nil
}

// Close ends the connections and the door.
func (w *ways) Close() {
	_ = w.gateway.Close() // nothing is under way any more
	_ = w.socket.Close()
	w.door.Close()
}

func version(conn *grpc.ClientConn, md metadata.MD) func(context.Context) error {
	client := machine.NewMachineServiceClient(conn)

	return func(ctx context.Context) error {
		reply, err := client.Version(metadata.NewOutgoingContext(ctx, md), &emptypb.Empty{})
		if err != nil {
			return err
		}
		for _, message := range reply.GetMessages() {
			if problem := message.GetMetadata().GetError(); problem != "" {
				return fmt.Errorf("%s: %s", message.GetMetadata().GetHostname(), problem)
			}
		}

		return nil
	}
}

// calls measures Version straight, through the gateway, by node, forwarded and fanned out.
func calls(ctx context.Context, t *table) error {
	daemon, err := open(ctx, "init")
	if err != nil {
		return err
	}
	defer daemon.Close()

	straight := 0.0
	for _, path := range []struct {
		name, latency, throughput string
		call                      func(context.Context) error
	}{
		{"straight to the socket", "", "", version(daemon.socket, nil)},
		{"through the gateway", "p50 at most 1.8× straight", "at least 0.6 of straight", version(daemon.gateway, nil)},
		{"by node, to itself", "", "at least 5,000/s", version(daemon.gateway, metadata.Pairs("nodes", entry))},
		{"by node, forwarded", "", "", version(daemon.gateway, metadata.Pairs("nodes", other))},
		{"fan-out to four", "", "", version(daemon.gateway, metadata.MD{"nodes": {entry, other, third, worker}})},
	} {
		one, err := times(ctx, 2000, path.call)
		if err != nil {
			return fmt.Errorf("%s: %w", path.name, err)
		}
		many, err := rate(ctx, 16, path.call)
		if err != nil {
			return fmt.Errorf("%s: %w", path.name, err)
		}
		t.add("Version "+path.name+", one caller, p50 / p99", one.percentiles(), path.latency)
		if straight == 0 {
			straight = many
		}
		t.add("Version "+path.name+", 16 callers", fmt.Sprintf("%.0f calls/s, %.2f of straight", many, many/straight), path.throughput)
	}

	return connections(ctx, t, straight)
}

// connections measures Version by callers who each have a connection.
func connections(ctx context.Context, t *table, straight float64) error {
	const callers = 16
	free := make(chan func(context.Context) error, callers)
	for range callers {
		conn, err := outside.Dial(entry, false)
		if err != nil {
			return err
		}
		defer conn.Close()
		free <- version(conn, nil)
	}
	many, err := rate(ctx, callers, func(ctx context.Context) error {
		call := <-free
		defer func() { free <- call }()

		return call(ctx)
	})
	if err != nil {
		return err
	}
	t.add("Version through the gateway, 16 callers on 16 connections", fmt.Sprintf("%.0f calls/s, %.2f of straight", many, many/straight),
		"at least 0.6 of straight")

	return nil
}

func get(conn *grpc.ClientConn, request *v1alpha1.GetRequest) func(context.Context) error {
	client := v1alpha1.NewStateClient(conn)

	return func(ctx context.Context) error {
		_, err := client.Get(ctx, request)

		return err
	}
}

// list counts the items of a type.
func list(ctx context.Context, conn *grpc.ClientConn, namespace, typ string) (int, error) {
	stream, err := v1alpha1.NewStateClient(conn).List(ctx, &v1alpha1.ListRequest{Namespace: namespace, Type: typ})
	if err != nil {
		return 0, err
	}
	for n := 0; ; n++ {
		if _, err := stream.Recv(); err != nil {
			if strings.Contains(err.Error(), "EOF") {
				return n, nil
			}

			return n, err
		}
	}
}
