package dial_test

import (
	"context"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/health"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"

	"github.com/dactyl-os/dactyl/services/kit/dial"
	"github.com/dactyl-os/dactyl/services/kit/kittest"
)

// TestCallsToAStoppedDaemon: init holds the socket, so that nobody answers and nobody refuses.
func TestCallsToAStoppedDaemon(t *testing.T) {
	dir, err := os.MkdirTemp("", "kit")
	if err != nil {
		t.Fatal(err)
	}

	t.Cleanup(func() { os.RemoveAll(dir) })

	socket := filepath.Join(dir, "clockd.sock")

	listener, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()

	conn, err := dial.Socket(socket)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()

	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()

	api := grpc_health_v1.NewHealthClient(conn)
	check := func() error {
		_, err := api.Check(ctx, &grpc_health_v1.HealthCheckRequest{})

		return err
	}
	refused := func(what string, err error) {
		t.Helper()

		if status.Code(err) != codes.FailedPrecondition || !dial.IsStopped(err) || !strings.Contains(err.Error(), "clockd was stopped or given up on this node; see: service clockd") {
			t.Errorf("%s: %v", what, err)
		}
	}

	// A call that waits is told when the daemon is stopped meanwhile.
	waiting := make(chan error, 1)
	go func() { waiting <- check() }()

	kittest.Await(t, 10*time.Second, "a connection", func() bool { return conn.GetState().String() == "CONNECTING" })

	if err := os.WriteFile(socket+dial.Stopped, nil, 0o644); err != nil {
		t.Fatal(err)
	}

	refused("the call that waited", <-waiting)
	refused("a later call", check())

	stream, err := api.Watch(ctx, &grpc_health_v1.HealthCheckRequest{})
	if err == nil {
		_, err = stream.Recv()
	}

	refused("a stream", err)

	// Started again, it answers.
	if err := os.Remove(socket + dial.Stopped); err != nil {
		t.Fatal(err)
	}

	server := grpc.NewServer()
	grpc_health_v1.RegisterHealthServer(server, health.NewServer())

	go server.Serve(listener) //nolint:errcheck // ends with the test
	defer server.Stop()

	if err := check(); err != nil {
		t.Errorf("after the start: %v", err)
	}
}
