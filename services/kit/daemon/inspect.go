package daemon

import (
	"context"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/cosi-project/runtime/pkg/controller"

	"github.com/dactyl-os/dactyl/proto/inspect"
	kitv1 "github.com/dactyl-os/dactyl/proto/local/dactyl/kit/v1"
)

// inspectServer answers init.
type inspectServer struct {
	kitv1.UnimplementedInspectServiceServer

	env *Env
}

// edgeTypes are those that the contract has; inputs that it does not know are ordinary ones.
var edgeTypes = map[controller.DependencyEdgeType]inspect.DependencyEdgeType{
	controller.EdgeOutputExclusive:          inspect.DependencyEdgeType_OUTPUT_EXCLUSIVE,
	controller.EdgeOutputShared:             inspect.DependencyEdgeType_OUTPUT_SHARED,
	controller.EdgeInputStrong:              inspect.DependencyEdgeType_INPUT_STRONG,
	controller.EdgeInputWeak:                inspect.DependencyEdgeType_INPUT_WEAK,
	controller.EdgeInputDestroyReady:        inspect.DependencyEdgeType_INPUT_DESTROY_READY,
	controller.EdgeInputQPrimary:            inspect.DependencyEdgeType_INPUT_STRONG,
	controller.EdgeInputQMapped:             inspect.DependencyEdgeType_INPUT_WEAK,
	controller.EdgeInputQMappedDestroyReady: inspect.DependencyEdgeType_INPUT_DESTROY_READY,
}

// Dependencies are what the daemon's controllers declare as their inputs and outputs.
func (s inspectServer) Dependencies(context.Context, *kitv1.DependenciesRequest) (*kitv1.DependenciesResponse, error) {
	answer := &kitv1.DependenciesResponse{}
	if s.env.runtime.runtime == nil {
		return answer, nil
	}

	graph, err := s.env.runtime.runtime.GetDependencyGraph()
	if err != nil {
		return nil, status.Errorf(codes.Internal, "read the controllers' dependencies: %v", err)
	}

	for _, e := range graph.Edges {
		answer.Edges = append(answer.Edges, &inspect.ControllerDependencyEdge{
			ControllerName: e.ControllerName, EdgeType: edgeTypes[e.EdgeType],
			ResourceNamespace: e.ResourceNamespace, ResourceType: e.ResourceType, ResourceId: e.ResourceID,
		})
	}

	return answer, nil
}
