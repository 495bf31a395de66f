package api

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/emptypb"

	"github.com/dactyl-os/dactyl/proto/inspect"
	kitv1 "github.com/dactyl-os/dactyl/proto/local/dactyl/kit/v1"
	resources "github.com/dactyl-os/dactyl/proto/resource"
	"github.com/dactyl-os/dactyl/services/init/internal/node"
	"github.com/dactyl-os/dactyl/services/kit/peer"
)

// inspectPatience is how long a daemon may take to answer.
const inspectPatience = 2 * time.Second

// Inspect serves how the node is put together.
type Inspect struct {
	inspect.UnimplementedInspectServiceServer

	node *node.Node
	dial func(daemon string) (*grpc.ClientConn, error)
}

// NewInspect makes the server; dial connects to a daemon of this node.
func NewInspect(n *node.Node, dial func(string) (*grpc.ClientConn, error)) *Inspect {
	return &Inspect{node: n, dial: dial}
}

// ControllerRuntimeDependencies joins what the controllers of every daemon read and write. A type that no controller writes is its
// owner's; the names of controllers begin with their daemon.
func (i *Inspect) ControllerRuntimeDependencies(ctx context.Context, _ *emptypb.Empty) (*inspect.ControllerRuntimeDependenciesResponse, error) {
	ctx, cancel := context.WithTimeout(peer.AsSelf(ctx), inspectPatience)
	defer cancel()

	var (
		group  sync.WaitGroup
		mu     sync.Mutex
		edges  []*inspect.ControllerDependencyEdge
		failed []error
	)

	for _, daemon := range i.node.Daemons() {
		group.Go(func() {
			found, err := i.ask(ctx, daemon)

			mu.Lock()
			defer mu.Unlock()

			edges, failed = append(edges, found...), append(failed, err)
		})
	}

	group.Wait()

	if err := errors.Join(failed...); err != nil {
		return nil, err
	}

	edges = append(edges, owned(edges)...)
	slices.SortFunc(edges, func(a, b *inspect.ControllerDependencyEdge) int {
		return cmp.Or(strings.Compare(a.GetControllerName(), b.GetControllerName()), cmp.Compare(a.GetEdgeType(), b.GetEdgeType()),
			strings.Compare(a.GetResourceType(), b.GetResourceType()), strings.Compare(a.GetResourceId(), b.GetResourceId()))
	})

	return &inspect.ControllerRuntimeDependenciesResponse{Messages: []*inspect.ControllerRuntimeDependency{{Edges: edges}}}, nil
}

func (i *Inspect) ask(ctx context.Context, daemon string) ([]*inspect.ControllerDependencyEdge, error) {
	conn, err := i.dial(daemon)
	if err != nil {
		return nil, status.Errorf(codes.Unavailable, "%s: %v", daemon, err)
	}

	answer, err := kitv1.NewInspectServiceClient(conn).Dependencies(ctx, &kitv1.DependenciesRequest{})
	if status.Code(err) == codes.Unimplemented {
		return nil, nil // another build of it, from before there was a graph
	}

	if err != nil {
		return nil, status.Errorf(status.Code(err), "%s: %s; see: service %s", daemon, status.Convert(err).Message(), daemon)
	}

	for _, e := range answer.GetEdges() {
		if !strings.HasPrefix(e.GetControllerName(), daemon+".") {
			e.ControllerName = daemon + "." + e.GetControllerName()
		}
	}

	return answer.GetEdges(), nil
}

// owned are the outputs of daemons that publish without a controller, as far as somebody reads them.
func owned(edges []*inspect.ControllerDependencyEdge) []*inspect.ControllerDependencyEdge {
	written := map[string]bool{}

	for _, e := range edges {
		if e.GetEdgeType() == inspect.DependencyEdgeType_OUTPUT_EXCLUSIVE || e.GetEdgeType() == inspect.DependencyEdgeType_OUTPUT_SHARED {
			written[e.GetResourceType()] = true
		}
	}

	var added []*inspect.ControllerDependencyEdge

	for _, e := range edges {
		definition, known := resources.Lookup(e.GetResourceType())
		if !known || written[e.GetResourceType()] {
			continue
		}

		written[e.GetResourceType()] = true
		added = append(added, &inspect.ControllerDependencyEdge{
			ControllerName: definition.Owner, EdgeType: inspect.DependencyEdgeType_OUTPUT_EXCLUSIVE,
			ResourceNamespace: e.GetResourceNamespace(), ResourceType: e.GetResourceType(),
		})
	}

	return added
}
