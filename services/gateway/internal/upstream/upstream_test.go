package upstream_test

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/dactyl-os/dactyl/services/gateway/internal/fake"
	"github.com/dactyl-os/dactyl/services/gateway/internal/raw"
	"github.com/dactyl-os/dactyl/services/gateway/internal/upstream"
	"github.com/dactyl-os/dactyl/services/kit/dial"
)

const hostname = "/machine.MachineService/Hostname"

func serve(t *testing.T, runDir, name string) *grpc.Server {
	t.Helper()

	listener, err := fake.Listen(runDir, name)
	if err != nil {
		t.Fatal(err)
	}

	server := fake.NewOwner(name)

	go func() { _ = server.Serve(listener) }()

	t.Cleanup(server.Stop)

	return server
}

func invoke(ctx context.Context, conn *upstream.Conn, again bool) error {
	_, err := conn.Invoke(ctx, hostname, raw.FromBytes(nil), again)

	return err
}

func bounded(t *testing.T, bound time.Duration) context.Context {
	t.Helper()

	ctx, cancel := context.WithTimeout(t.Context(), bound)
	t.Cleanup(cancel)

	return ctx
}

func TestDaemonThatIsNotThere(t *testing.T) {
	daemons := upstream.NewDaemons(t.TempDir())
	t.Cleanup(daemons.Close)

	if _, err := daemons.Get("hostd"); status.Code(err) != codes.Unimplemented || !strings.Contains(err.Error(), "hostd") {
		t.Errorf("got %v", err)
	}
}

func TestCallsWaitForADaemonThatRestarts(t *testing.T) {
	dir := t.TempDir()
	daemons := upstream.NewDaemons(dir)
	t.Cleanup(daemons.Close)

	first := serve(t, dir, "hostd")

	conn, err := daemons.Get("hostd")
	if err != nil {
		t.Fatal(err)
	}

	if err := invoke(bounded(t, 5*time.Second), conn, true); err != nil {
		t.Fatal(err)
	}

	first.Stop()

	// The end of this call's time shows that the loss of the connection is known.
	if err := invoke(bounded(t, 50*time.Millisecond), conn, true); status.Code(err) != codes.DeadlineExceeded {
		t.Fatalf("got %v", err)
	}

	waiting := make(chan error, 1)

	// A call that changes things has not been sent while there is no connection.
	go func() { waiting <- invoke(bounded(t, 5*time.Second), conn, false) }()

	serve(t, dir, "hostd")

	if err := <-waiting; err != nil {
		t.Errorf("got %v", err)
	}
}

func TestDaemonThatWasStopped(t *testing.T) {
	dir := t.TempDir()
	daemons := upstream.NewDaemons(dir)
	t.Cleanup(daemons.Close)

	server := serve(t, dir, "hostd")

	conn, err := daemons.Get("hostd")
	if err != nil {
		t.Fatal(err)
	}

	if err := invoke(bounded(t, 5*time.Second), conn, true); err != nil {
		t.Fatal(err)
	}

	server.Stop()

	marked := filepath.Join(dir, "hostd.sock"+dial.Stopped)
	if err := os.WriteFile(marked, nil, 0o600); err != nil {
		t.Fatal(err)
	}

	err = invoke(bounded(t, 5*time.Second), conn, true)
	if status.Code(err) != codes.FailedPrecondition || !strings.Contains(err.Error(), "hostd was stopped or given up on this node; see: service hostd") {
		t.Errorf("got %v", err)
	}

	if err := os.Remove(marked); err != nil {
		t.Fatal(err)
	}

	serve(t, dir, "hostd")

	if err := invoke(bounded(t, 5*time.Second), conn, true); err != nil {
		t.Errorf("after its start: %v", err)
	}
}

func TestCallEndsWithItsDeadlineWhileADaemonHangs(t *testing.T) {
	dir := t.TempDir()
	daemons := upstream.NewDaemons(dir)
	t.Cleanup(daemons.Close)

	// Held by init, accepted by nobody.
	listener, err := fake.Listen(dir, "hostd")
	if err != nil {
		t.Fatal(err)
	}

	defer listener.Close()

	conn, err := daemons.Get("hostd")
	if err != nil {
		t.Fatal(err)
	}

	begin := time.Now()

	if err := invoke(bounded(t, 200*time.Millisecond), conn, true); status.Code(err) != codes.DeadlineExceeded {
		t.Errorf("got %v", err)
	}

	if took := time.Since(begin); took > 2*time.Second {
		t.Errorf("took %s", took)
	}
}

func TestAnswerUnavailableIsNoBrokenConnection(t *testing.T) {
	dir := t.TempDir()
	daemons := upstream.NewDaemons(dir)
	t.Cleanup(daemons.Close)
	serve(t, dir, "hostd")

	conn, err := daemons.Get("hostd")
	if err != nil {
		t.Fatal(err)
	}

	begin := time.Now()
	ctx := metadata.AppendToOutgoingContext(bounded(t, 20*time.Second), fake.FailKey, "Unavailable")

	if err := invoke(ctx, conn, true); status.Convert(err).Message() != "as asked" {
		t.Errorf("got %v", err)
	}

	if took := time.Since(begin); took > time.Second {
		t.Errorf("was retried for %s", took)
	}
}
