package e2e

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/dactyl-os/dactyl/proto/machine"
	"github.com/dactyl-os/dactyl/services/kit/kittest"
	"github.com/dactyl-os/dactyl/tools/internal/outside"
)

// TestWaysDown records what clients are told when a node reboots and when it is switched off, by its own gateway and by
// another node's. Clients of the contract wait for the start of the task stopAllServices.
func TestWaysDown(t *testing.T) {
	t.Cleanup(func() { outside.Must(t, createCluster(context.Background())) })

	for _, way := range [][2]string{{"reboot", "back and ready"}, {"shutdown", "off"}} {
		sequence, end := way[0], way[1]
		own, far := followDown(t, worker), followDown(t, controlPlanes[0])
		result := outside.Dactylctl(t.Context(), "-n", worker, sequence)
		want := []string{sequence + " START", "stopEverything START", "stopAllServices START"}

		for through, stream := range map[string]grpc.ServerStreamingClient[machine.Event]{"itself": own, "another node": far} {
			said, err := wayDown(t, stream)
			if !slices.Equal(said, want) {
				t.Errorf("%s through %s: %q, want %q", sequence, through, said, want)
			}

			if status.Code(err) != codes.Unavailable || !strings.Contains(err.Error(), "this node is ") || strings.Contains(err.Error(), "restarting") {
				t.Errorf("%s through %s ends with %v", sequence, through, err)
			}
		}

		if result.Err != nil || !strings.Contains(result.Stderr, end) || !strings.Contains(result.Stderr, worker+": going down: stopAllServices\n") {
			t.Errorf("%s", result)
		}
	}

	kittest.AwaitNoError(t, time.Minute, func() error {
		if r := outside.Dactylctl(t.Context(), "-n", worker, "version"); r.Err == nil {
			return fmt.Errorf("the node is not off: %s", r)
		}

		return nil
	})
}

func followDown(t *testing.T, endpoint string) grpc.ServerStreamingClient[machine.Event] {
	t.Helper()

	stream, err := machine.NewMachineServiceClient(dial(t, endpoint, false)).Events(outside.Node(t.Context(), worker), &machine.EventsRequest{TailEvents: 1})
	if err != nil {
		t.Fatal(err)
	}

	if _, err := stream.Recv(); err != nil { // from here on it misses nothing
		t.Fatal(err)
	}

	return stream
}

// wayDown gives the steps of the way down until the stream ends, and its end.
func wayDown(t *testing.T, stream grpc.ServerStreamingClient[machine.Event]) ([]string, error) {
	t.Helper()

	var said []string

	for {
		event, err := stream.Recv()
		if err != nil {
			return said, err
		}

		payload, err := event.GetData().UnmarshalNew()
		if err != nil {
			t.Fatal(err)
		}

		switch p := payload.(type) {
		case *machine.SequenceEvent:
			said = append(said, fmt.Sprint(p.GetSequence(), " ", p.GetAction()))
		case *machine.PhaseEvent:
			said = append(said, fmt.Sprint(p.GetPhase(), " ", p.GetAction()))
		case *machine.TaskEvent:
			said = append(said, fmt.Sprint(p.GetTask(), " ", p.GetAction()))
		}
	}
}
