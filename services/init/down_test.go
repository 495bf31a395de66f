package initd_test

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	initv1 "github.com/dactyl-os/dactyl/proto/local/dactyl/init/v1"
	"github.com/dactyl-os/dactyl/proto/machine"
	"github.com/dactyl-os/dactyl/services/kit/access"
	"github.com/dactyl-os/dactyl/services/kit/kittest"
)

// as is a connection to init's socket from a process in the cgroup of a daemon.
func (m *machineUnderTest) as(name string) *grpc.ClientConn {
	return kittest.ConnThrough(m.t, kittest.Door(m.t, name), filepath.Join(m.root, "run/init.sock"))
}

// TestEventsTellTheWayDown records what followers of the events are told on each way down: who is inside all of it, and who
// is outside all up to the task that clients wait for, and then a proper end.
func TestEventsTellTheWayDown(t *testing.T) {
	for sequence, stage := range map[string]string{
		"shutdown": "SHUTTING_DOWN", "reboot": "REBOOTING", "reset": "RESETTING", "upgrade": "UPGRADING",
	} {
		t.Run(sequence, func(t *testing.T) {
			t.Parallel()

			m := newMachine(t)
			m.fake("a", "serve", "")
			m.fake("b", "serve", "needs: [a]\n")
			m.boot()
			m.await("b", "Running")

			inside := follow(t, m.MachineServiceClient)
			outside := follow(t, machine.NewMachineServiceClient(m.as("gateway")))
			actor, code := m.goDown(sequence)
			begin := []string{sequence + " START", "stage " + stage, "stopEverything START", "stopAllServices START"}
			whole := append(slices.Clone(begin), "b STOPPING", "b FINISHED", "a STOPPING", "a FINISHED",
				"stopAllServices STOP", "stopEverything STOP", sequence+" STOP", "restart")

			said, err := recorded(t, outside, actor)
			if !slices.Equal(said, begin) {
				t.Errorf("outside: %q, want %q", said, begin)
			}

			doing := strings.ToLower(strings.ReplaceAll(stage, "_", " "))
			if status.Code(err) != codes.Unavailable || !strings.Contains(err.Error(), "this node is "+doing) {
				t.Errorf("the end outside: %v", err)
			}

			// init may be gone before its last words are.
			said, _ = recorded(t, inside, actor)
			if len(said) < len(whole)-4 || !slices.Equal(said, whole[:len(said)]) {
				t.Errorf("inside: %q, want %q", said, whole)
			}

			expectExit(t, m, code)
		})
	}
}

// goDown takes the node down in one of the ways and gives the actor and the exit code that follows.
func (m *machineUnderTest) goDown(sequence string) (actor string, code int) {
	m.t.Helper()

	switch sequence {
	case "shutdown":
		answer, err := m.Shutdown(m.t.Context(), &machine.ShutdownRequest{})
		if err != nil {
			m.t.Fatal(err)
		}

		return answer.GetMessages()[0].GetActorId(), 0
	case "reboot":
		answer, err := m.Reboot(m.t.Context(), &machine.RebootRequest{})
		if err != nil {
			m.t.Fatal(err)
		}

		return answer.GetMessages()[0].GetActorId(), 64
	}

	client := initv1.NewInitServiceClient(m.as("diskd"))

	if _, err := client.GoDown(m.t.Context(), &initv1.GoDownRequest{Sequence: "fall"}); status.Code(err) != codes.InvalidArgument {
		m.t.Errorf("a way down that is none: %v", err)
	}

	answer, err := client.GoDown(m.t.Context(), &initv1.GoDownRequest{Sequence: sequence, Reboot: true})
	if err != nil {
		m.t.Fatal(err)
	}

	return answer.GetActorId(), 64
}

// follow opens a stream of events and waits until it misses nothing.
func follow(t *testing.T, client machine.MachineServiceClient) grpc.ServerStreamingClient[machine.Event] {
	t.Helper()

	// What the gateway forwards carries its caller's roles; with others it means nothing.
	ctx := metadata.AppendToOutgoingContext(t.Context(), access.RoleKey, access.Reader)

	stream, err := client.Events(ctx, &machine.EventsRequest{})
	if err != nil {
		t.Fatal(err)
	}

	if _, err := stream.Header(); err != nil {
		t.Fatal(err)
	}

	return stream
}

// recorded puts the events from the beginning of the way down to the stream's end into words.
func recorded(t *testing.T, events grpc.ServerStreamingClient[machine.Event], actor string) ([]string, error) {
	t.Helper()

	var said []string

	for {
		event, err := events.Recv()
		if err != nil {
			return said, err
		}

		payload, err := event.GetData().UnmarshalNew()
		if err != nil {
			t.Fatal(err)
		}

		word, acts := "", true

		switch p := payload.(type) {
		case *machine.SequenceEvent:
			word = fmt.Sprint(p.GetSequence(), " ", p.GetAction())
		case *machine.PhaseEvent:
			word = fmt.Sprint(p.GetPhase(), " ", p.GetAction())
		case *machine.TaskEvent:
			word = fmt.Sprint(p.GetTask(), " ", p.GetAction())
		case *machine.RestartEvent:
			word = "restart"
		case *machine.MachineStatusEvent:
			word, acts = "stage "+p.GetStage().String(), false
		case *machine.ServiceStateEvent:
			word, acts = fmt.Sprint(p.GetService(), " ", p.GetAction()), false
		}

		if acts && event.GetActorId() != actor {
			t.Errorf("%s: actor %q", word, event.GetActorId())
		}

		// Before the beginning, and of health, things are told when they come.
		begun := len(said) > 0 || strings.HasSuffix(word, "START")
		if repeated := len(said) > 0 && slices.Contains(said, word); begun && !repeated {
			said = append(said, word)
		}
	}
}
