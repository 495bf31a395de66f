package node

import (
	"context"
	"fmt"
	"time"

	"github.com/cosi-project/runtime/pkg/resource"
	"github.com/cosi-project/runtime/pkg/state"

	"github.com/dactyl-os/dactyl/proto/resource/config"
	"github.com/dactyl-os/dactyl/proto/resource/enums"
	"github.com/dactyl-os/dactyl/services/init/internal/supervise"
)

// WatchMachineType tells the supervisor what kind of node configd says this is.
func (n *Node) WatchMachineType(ctx context.Context, remote state.State) error {
	events := make(chan state.Event)
	pointer := resource.NewMetadata(config.NamespaceName, config.MachineTypeType, config.MachineTypeID, resource.VersionUndefined)

	if err := remote.Watch(ctx, pointer, events); err != nil {
		return fmt.Errorf("watch machine type: %w", err)
	}

	for {
		select {
		case event := <-events:
			switch event.Type {
			case state.Errored:
				return fmt.Errorf("watch machine type: %w", event.Error)
			case state.Created, state.Updated:
				if machineType, ok := event.Resource.(*config.MachineType); ok {
					n.learn(factsOf(machineType.TypedSpec().Value))
				}
			case state.Destroyed:
				n.doubt()
			case state.Bootstrapped, state.Noop:
			}
		case <-ctx.Done():
			return nil
		}
	}
}

func factsOf(value enums.MachineType) supervise.Node {
	return supervise.Node{
		Configured:   value != enums.MachineTypeUnknown,
		ControlPlane: value == enums.MachineTypeControlPlane || value == enums.MachineTypeInit,
	}
}

// doubt takes back that this is a node without a configuration: configd says nothing any more. A node that had one goes on as
// what it is.
func (n *Node) doubt() {
	n.mu.Lock()
	if !n.facts.Configured {
		n.known = false
	}
	n.mu.Unlock()

	n.touch()
}

func (n *Node) learn(facts supervise.Node) {
	n.mu.Lock()
	n.known, n.facts = true, facts
	n.mu.Unlock()

	n.log.Info("Machine type known", "configured", facts.Configured, "controlplane", facts.ControlPlane)

	_ = n.loop.Do(func(core *supervise.Core, now time.Time) { core.SetNode(now, facts) })
	n.touch()
}
