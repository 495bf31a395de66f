package node

import (
	"context"
	"fmt"
	"time"

	"github.com/cosi-project/runtime/pkg/resource"
	"github.com/cosi-project/runtime/pkg/state"

	"github.com/dactyl-os/dactyl/proto/resource/config"
	"github.com/dactyl-os/dactyl/proto/resource/enums"
	"github.com/dactyl-os/dactyl/proto/resource/network"
	timeres "github.com/dactyl-os/dactyl/proto/resource/time"
	"github.com/dactyl-os/dactyl/services/init/internal/manifest"
	"github.com/dactyl-os/dactyl/services/init/internal/supervise"
)

// pathInterval is how often paths that a unit waits for are looked at.
const pathInterval = 500 * time.Millisecond

// source is a resource that tells about conditions; facts gives them, none when the resource does not exist.
type source struct {
	namespace resource.Namespace
	typ       resource.Type
	id        resource.ID
	tells     []manifest.Condition
	facts     func(resource.Resource) []bool
}

// sources are what conditions are known by. The first also says what stage of its life the node is in.
func sources() []source {
	return []source{
		{
			namespace: config.NamespaceName, typ: config.MachineTypeType, id: config.MachineTypeID,
			tells: []manifest.Condition{manifest.Configuration, manifest.ControlPlane},
			facts: func(r resource.Resource) []bool {
				value := r.(*config.MachineType).TypedSpec().Value //nolint:forcetypeassert // the type of the watch

				return []bool{
					value != enums.MachineTypeUnknown, value == enums.MachineTypeControlPlane || value == enums.MachineTypeInit,
				}
			},
		},
		{
			namespace: network.NamespaceName, typ: network.StatusType, id: network.StatusID,
			tells: []manifest.Condition{
				manifest.NetworkAddresses, manifest.NetworkConnectivity, manifest.NetworkHostname, manifest.NetworkEtcFiles, manifest.Network,
			},
			facts: func(r resource.Resource) []bool {
				s := r.(*network.Status).TypedSpec() //nolint:forcetypeassert // the type of the watch

				return []bool{
					s.AddressReady, s.ConnectivityReady, s.HostnameReady, s.EtcFilesReady,
					s.AddressReady && s.ConnectivityReady && s.HostnameReady && s.EtcFilesReady,
				}
			},
		},
		{
			namespace: timeres.NamespaceName, typ: timeres.StatusType, id: timeres.StatusID,
			tells: []manifest.Condition{manifest.Time},
			facts: func(r resource.Resource) []bool {
				s := r.(*timeres.Status).TypedSpec() //nolint:forcetypeassert // the type of the watch

				return []bool{s.Synced || s.SyncDisabled}
			},
		},
	}
}

// WatchFacts tells the supervisor what is known about the conditions that units have. What none waits for is not watched;
// exists tells whether there is something at a path.
func (n *Node) WatchFacts(ctx context.Context, remote state.State, exists func(path string) bool) error {
	events := make(chan state.Event)
	watched := map[resource.Type]source{}

	for {
		conditions, paths := n.conditions()

		for i, s := range sources() {
			if _, done := watched[s.typ]; done || i > 0 && !s.tellsAny(conditions) {
				continue
			}

			watched[s.typ] = s

			if err := remote.Watch(ctx, resource.NewMetadata(s.namespace, s.typ, s.id, resource.VersionUndefined), events); err != nil {
				return fmt.Errorf("watch %s: %w", s.typ, err)
			}
		}

		var look <-chan time.Time
		if n.lookAt(paths, exists) {
			look = time.After(pathInterval)
		}

		select {
		case event := <-events:
			if event.Type == state.Errored {
				return fmt.Errorf("watch what units wait for: %w", event.Error)
			}

			n.hear(watched, event)
		case <-look:
		case <-n.defined:
		case <-ctx.Done():
			return nil
		}
	}
}

// hear takes in what a watch tells.
func (n *Node) hear(watched map[resource.Type]source, event state.Event) {
	if event.Resource == nil {
		return
	}

	typ := event.Resource.Metadata().Type()
	if typ == config.MachineTypeType && event.Type == state.Destroyed {
		n.doubt()

		return
	}

	if s, known := watched[typ]; known {
		n.learn(s.read(event))
	}
}

// doubt takes back that this is a node without a configuration: configd says nothing any more. A node that had one goes on as
// what it is.
func (n *Node) doubt() {
	n.mu.Lock()
	if !n.configured {
		n.known = false
	}
	n.mu.Unlock()

	n.touch()
}

func (s source) tellsAny(wanted map[manifest.Condition]bool) bool {
	for _, condition := range s.tells {
		if wanted[condition] {
			return true
		}
	}

	return false
}

// read gives the facts of an event. A control plane is the one thing that a node can never become.
func (s source) read(event state.Event) map[manifest.Condition]supervise.Fact {
	facts := map[manifest.Condition]supervise.Fact{}
	met := make([]bool, len(s.tells))

	if event.Type != state.Destroyed {
		met = s.facts(event.Resource)
	}

	for i, condition := range s.tells {
		facts[condition] = supervise.Unmet
		if met[i] {
			facts[condition] = supervise.Met
		}
	}

	if facts[manifest.Configuration] == supervise.Met && facts[manifest.ControlPlane] == supervise.Unmet {
		facts[manifest.ControlPlane] = supervise.Never
	}

	return facts
}

// conditions are those of all units, and the paths that one waits for now.
func (n *Node) conditions() (all map[manifest.Condition]bool, paths []manifest.Condition) {
	all = map[manifest.Condition]bool{}

	_ = n.loop.Do(func(core *supervise.Core, _ time.Time) {
		for _, condition := range core.Conditions() {
			all[condition] = true

			if _, is := condition.Path(); is && core.Awaited(condition) {
				paths = append(paths, condition)
			}
		}
	})

	return all, paths
}

// lookAt tells the supervisor which paths are there, and whether it has to be done again.
func (n *Node) lookAt(paths []manifest.Condition, exists func(path string) bool) bool {
	facts := map[manifest.Condition]supervise.Fact{}

	for _, condition := range paths {
		facts[condition] = supervise.Unmet

		if path, _ := condition.Path(); exists(path) {
			facts[condition] = supervise.Met
		}
	}

	if len(facts) > 0 {
		_ = n.loop.Do(func(core *supervise.Core, now time.Time) { core.Learn(now, facts) })
	}

	return len(facts) > 0
}

func (n *Node) learn(facts map[manifest.Condition]supervise.Fact) {
	if configured, told := facts[manifest.Configuration]; told {
		n.mu.Lock()
		n.known, n.configured = true, configured == supervise.Met
		n.mu.Unlock()

		n.log.Info("machine type known", "configured", configured == supervise.Met, "controlplane", facts[manifest.ControlPlane] == supervise.Met)
	}

	_ = n.loop.Do(func(core *supervise.Core, now time.Time) { core.Learn(now, facts) })
	n.touch()
}
