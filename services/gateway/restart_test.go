package gateway_test

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/emptypb"

	"github.com/dactyl-os/dactyl/proto/machine"
	"github.com/dactyl-os/dactyl/services/gateway/internal/fake"
	"github.com/dactyl-os/dactyl/services/kit/access"
)

// load calls a method that changes nothing from several callers until stop; it counts calls and keeps what failed.
type load struct {
	calls  atomic.Int64
	mu     sync.Mutex
	failed []error
	group  sync.WaitGroup
	stop   context.CancelFunc
}

func startLoad(t *testing.T, callers int, call func(ctx context.Context) error) *load {
	t.Helper()

	ctx, cancel := context.WithCancel(t.Context())
	l := &load{stop: cancel}

	for range callers {
		l.group.Go(func() {
			for ctx.Err() == nil {
				// A call of its own context: stopping the load is no failure of the last one.
				bounded, done := context.WithTimeout(context.WithoutCancel(ctx), 20*time.Second)
				err := call(bounded)

				done()
				l.calls.Add(1)

				if err != nil {
					l.mu.Lock()
					l.failed = append(l.failed, err)
					l.mu.Unlock()
				}
			}
		})
	}

	t.Cleanup(func() {
		cancel()
		l.group.Wait()
	})

	return l
}

// more waits until the load has gone on for a number of calls.
func (l *load) more(t *testing.T, calls int64) {
	t.Helper()

	want := l.calls.Load() + calls

	await(t, 30*time.Second, func() error {
		if got := l.calls.Load(); got < want {
			return fmt.Errorf("%d calls, waiting for %d", got, want)
		}

		return nil
	})
}

func (l *load) finish(t *testing.T) {
	t.Helper()

	l.stop()
	l.group.Wait()

	l.mu.Lock()
	defer l.mu.Unlock()

	if len(l.failed) > 0 {
		t.Errorf("%d of %d calls failed, the first: %v", len(l.failed), l.calls.Load(), l.failed[0])
	}

	t.Logf("%d calls", l.calls.Load())
}

// TestKilledOwnerCostsNoCall: kill -9 of a daemon under load, here and behind another node's gateway.
func TestKilledOwnerCostsNoCall(t *testing.T) {
	authority := fake.NewAuthority(t)
	first := controlPlane(t, authority, "127.0.0.2", "0")
	second := controlPlane(t, authority, "127.0.0.3", first.port())
	client := machine.NewMachineServiceClient(first.client(t, authority, access.Admin))

	unary := startLoad(t, 4, func(ctx context.Context) error {
		_, err := client.Hostname(ctx, &emptypb.Empty{})

		return err
	})
	forwarded := startLoad(t, 4, func(ctx context.Context) error {
		answer, err := client.Hostname(metadataPairs(ctx, "nodes", "127.0.0.3,127.0.0.2"), &emptypb.Empty{})
		if err != nil {
			return err
		}

		for _, message := range answer.GetMessages() {
			if text := message.GetMetadata().GetError(); text != "" {
				return fmt.Errorf("%s: %s", message.GetMetadata().GetHostname(), text)
			}
		}

		return nil
	})
	streamed := startLoad(t, 2, func(ctx context.Context) error {
		stream, err := client.Dmesg(metadataPairs(ctx, "node", "127.0.0.3"), &machine.DmesgRequest{})
		if err != nil {
			return err
		}

		// A stream that was open may end with Unavailable, which its client resumes from; one that opens may not.
		_, err = stream.Recv()

		return err
	})

	for range 5 {
		for _, n := range []*node{first, second} {
			unary.more(t, 100)
			forwarded.more(t, 100)
			n.owners.kill()
			n.startOwners(t)
		}
	}

	unary.more(t, 100)
	unary.finish(t)
	forwarded.finish(t)
	streamed.finish(t)
}

// TestCallThatChangesThingsIsNotRepeated: its caller is told that nobody knows whether it was carried out, and by whom.
func TestCallThatChangesThingsIsNotRepeated(t *testing.T) {
	authority := fake.NewAuthority(t)
	n := controlPlane(t, authority, "127.0.0.2", "0")
	client := machine.NewMachineServiceClient(n.client(t, authority, access.Admin))
	failed := make(chan error, 1)

	if _, err := client.ServiceRestart(within(t, 10*time.Second), &machine.ServiceRestartRequest{}); err != nil {
		t.Fatal(err)
	}

	go func() {
		_, err := client.ServiceRestart(within(t, 20*time.Second, fake.DelayKey, "1m"), &machine.ServiceRestartRequest{})
		failed <- err
	}()

	// The call is at the owner when the kernel has nothing left of it: kill again until it has failed.
	var err error

	await(t, 20*time.Second, func() error {
		time.Sleep(100 * time.Millisecond)
		n.owners.kill()
		n.startOwners(t)

		select {
		case err = <-failed:
			return nil
		default:
			return fmt.Errorf("the call goes on")
		}
	})

	wantCode(t, err, codes.Unavailable, "init was restarted during the call")
}

// TestGatewayRestart: SIGTERM lets calls finish, ends streams at once, and whoever connects meanwhile waits.
func TestGatewayRestart(t *testing.T) {
	authority := fake.NewAuthority(t)
	n := controlPlane(t, authority, "127.0.0.2", "0")
	client := machine.NewMachineServiceClient(n.client(t, authority, access.Admin))

	stream, err := client.Dmesg(within(t, time.Minute, fake.StallKey, "1"), &machine.DmesgRequest{})
	if err != nil {
		t.Fatal(err)
	}

	for range fake.StreamLength {
		if _, err := stream.Recv(); err != nil {
			t.Fatal(err)
		}
	}

	steady := startLoad(t, 4, func(ctx context.Context) error {
		_, err := client.Hostname(ctx, &emptypb.Empty{})

		return err
	})

	for range 3 {
		steady.more(t, 100)

		if err := n.gateway.cmd.Process.Signal(syscall.SIGTERM); err != nil {
			t.Fatal(err)
		}

		begin := time.Now()
		<-n.gateway.done
		stopped := time.Since(begin)

		if code := n.gateway.cmd.ProcessState.ExitCode(); code != 0 {
			t.Errorf("exit code %d", code)
		}

		n.startGateway(t)
		steady.more(t, 4)
		t.Logf("stopped in %s, served again after %s", stopped, time.Since(begin))
	}

	steady.finish(t)

	if _, err := stream.Recv(); status.Code(err) != codes.Unavailable || !strings.Contains(err.Error(), "open the stream again") {
		t.Errorf("open stream: %v", err)
	}
}

// TestFanOutWithANodeDown: two answers and one reason, within the time that a dial may take.
func TestFanOutWithANodeDown(t *testing.T) {
	authority := fake.NewAuthority(t)
	first := controlPlane(t, authority, "127.0.0.2", "0")
	second := controlPlane(t, authority, "127.0.0.3", first.port())
	third := newNode(t, "127.0.0.4", first.port())
	client := machine.NewMachineServiceClient(first.client(t, authority, access.Admin))

	await(t, 10*time.Second, func() error { return version(within(t, time.Second), second.client(t, authority, access.Admin)) })

	// A node that accepts connections and then says nothing is worse than one that is off.
	_ = third

	begin := time.Now()

	answer, err := client.Hostname(within(t, 30*time.Second, "nodes", "127.0.0.2,127.0.0.3,127.0.0.4"), &emptypb.Empty{})
	if err != nil {
		t.Fatal(err)
	}

	t.Logf("answered after %s", time.Since(begin))

	if took := time.Since(begin); took > 8*time.Second {
		t.Errorf("took %s", took)
	}

	if len(answer.GetMessages()) != 3 || answer.GetMessages()[0].GetHostname() == "" || answer.GetMessages()[1].GetHostname() == "" {
		t.Fatalf("got %v", answer)
	}

	down := answer.GetMessages()[2].GetMetadata()
	if down.GetHostname() != "127.0.0.4" || codes.Code(down.GetStatus().GetCode()) != codes.Unavailable {
		t.Errorf("got %v", down)
	}
}

// TestKilledGatewayOfAnotherNode: calls forwarded to it end well, because its listener outlives it.
func TestKilledGatewayOfAnotherNode(t *testing.T) {
	authority := fake.NewAuthority(t)
	first := controlPlane(t, authority, "127.0.0.2", "0")
	second := controlPlane(t, authority, "127.0.0.3", first.port())
	client := machine.NewMachineServiceClient(first.client(t, authority, access.Admin))

	steady := startLoad(t, 4, func(ctx context.Context) error {
		_, err := client.Hostname(metadataPairs(ctx, "node", "127.0.0.3"), &emptypb.Empty{})

		return err
	})

	for range 3 {
		steady.more(t, 100)
		second.gateway.kill()
		second.startGateway(t)
	}

	steady.more(t, 100)
	steady.finish(t)
}
