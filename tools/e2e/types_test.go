package e2e

import (
	"context"
	"errors"
	"io"
	"testing"
	"time"

	"github.com/cosi-project/runtime/api/v1alpha1"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/dactyl-os/dactyl/proto/resource"
	"github.com/dactyl-os/dactyl/tools/internal/outside"
)

// TestEveryTypeAnswers asks for each type of the contract, whether its daemon is on the node or not: a client that asks for many
// must not lose its answer by one of them.
func TestEveryTypeAnswers(t *testing.T) {
	for _, node := range []string{controlPlanes[0], worker} {
		client := v1alpha1.NewStateClient(dial(t, node, false))

		for _, definition := range resource.Definitions() {
			ctx, cancel := context.WithTimeout(outside.Node(t.Context(), node), 20*time.Second)

			wholeList(t, ctx, client, definition)

			_, err := client.Get(ctx, &v1alpha1.GetRequest{Namespace: definition.Namespace, Type: definition.Type, Id: "no-such-thing"})
			if status.Code(err) != codes.NotFound {
				t.Errorf("%s: get of %s: %v", node, definition.Type, err)
			}

			watch, err := client.Watch(ctx, &v1alpha1.WatchRequest{
				Namespace: definition.Namespace, Type: definition.Type, ApiVersion: 1, Options: &v1alpha1.WatchOptions{BootstrapContents: true},
			})
			if err == nil {
				_, err = watch.Recv()
			}

			if err != nil {
				t.Errorf("%s: watch of %s: %v", node, definition.Type, err)
			}

			cancel()
		}
	}
}

func wholeList(t *testing.T, ctx context.Context, client v1alpha1.StateClient, definition resource.Definition) {
	t.Helper()

	list, err := client.List(ctx, &v1alpha1.ListRequest{Namespace: definition.Namespace, Type: definition.Type})
	for err == nil {
		_, err = list.Recv()
	}

	if !errors.Is(err, io.EOF) {
		t.Errorf("list of %s: %v", definition.Type, err)
	}
}
