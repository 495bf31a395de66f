package api

import (
	"testing"

	"github.com/dactyl-os/dactyl/proto/inspect"
	"github.com/dactyl-os/dactyl/proto/resource/config"
	"github.com/dactyl-os/dactyl/proto/resource/network"
)

// TestWhatNoControllerWritesIsItsOwners: configd publishes without a controller, and others read it.
func TestWhatNoControllerWritesIsItsOwners(t *testing.T) {
	const in, out = inspect.DependencyEdgeType_INPUT_WEAK, inspect.DependencyEdgeType_OUTPUT_EXCLUSIVE

	reader := func(typ string, kind inspect.DependencyEdgeType) *inspect.ControllerDependencyEdge {
		return &inspect.ControllerDependencyEdge{ControllerName: "networkd.Configure", EdgeType: kind, ResourceNamespace: "x", ResourceType: typ}
	}

	mc := config.NewMachineConfig(config.NamespaceName, config.ActiveID).Metadata().Type()
	link := network.NewLinkStatus(network.NamespaceName, "lo").Metadata().Type()

	added := owned([]*inspect.ControllerDependencyEdge{reader(mc, in), reader(mc, in), reader(link, in), reader(link, out), reader("Unknown.example.org", in)})
	if len(added) != 1 || added[0].GetControllerName() != "configd" || added[0].GetResourceType() != mc || added[0].GetEdgeType() != out {
		t.Errorf("added %v", added)
	}
}
