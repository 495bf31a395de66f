package node

import (
	"context"
	"fmt"
	"reflect"

	"github.com/cosi-project/runtime/pkg/resource"
	"github.com/cosi-project/runtime/pkg/state"

	"github.com/dactyl-os/dactyl/proto/machine"
	"github.com/dactyl-os/dactyl/proto/resource/enums"
	"github.com/dactyl-os/dactyl/proto/resource/runtime"
	"github.com/dactyl-os/dactyl/proto/resource/v1alpha1"
	"github.com/dactyl-os/dactyl/services/init/internal/supervise"
)

// PublishStatus keeps the resources Service and MachineStatus as the services are. release is called once they are there.
func (n *Node) PublishStatus(ctx context.Context, local state.State, release func()) error {
	var (
		last      runtime.MachineStatusSpec
		published map[string]bool
	)

	for {
		services := n.Services()

		var err error
		if published, err = publishServices(ctx, local, services, published); err != nil {
			return err
		}

		if machineStatus := n.machineStatus(services); !reflect.DeepEqual(machineStatus, last) {
			if err := n.publishMachine(ctx, local, machineStatus); err != nil {
				return err
			}

			last = machineStatus
		}

		release()
		n.stageShown(last)

		select {
		case <-n.changed:
		case <-ctx.Done():
			return nil
		}
	}
}

// stageShown tells the way down that everybody can see it.
func (n *Node) stageShown(spec runtime.MachineStatusSpec) {
	select {
	case <-n.staged:
	default:
		if down := n.Asked(); down != nil && spec.Stage == sequences[down.Sequence].stage {
			close(n.staged)
		}
	}
}

// publishServices writes all services and withdraws what was published before and is no more.
func publishServices(ctx context.Context, local state.State, services []supervise.Status, before map[string]bool) (map[string]bool, error) {
	now := map[string]bool{}

	for _, s := range services {
		ids, err := publishService(ctx, local, s)
		if err != nil {
			return nil, err
		}

		for _, id := range ids {
			now[id] = true
		}
	}

	for id := range before {
		if now[id] {
			continue
		}

		err := local.Destroy(ctx, v1alpha1.NewService(v1alpha1.NamespaceName, id).Metadata())
		if err != nil && !state.IsNotFoundError(err) {
			return nil, fmt.Errorf("withdraw service %s: %w", id, err)
		}
	}

	return now, nil
}

// publishService writes a service under its name and its aliases; one that this node does not need has no resource. The
// contract has no place for a daemon's version but an annotation, which the resource of its name has.
func publishService(ctx context.Context, local state.State, s supervise.Status) ([]string, error) {
	if s.State == supervise.Skipped {
		return nil, nil
	}

	ids := append([]string{s.Name}, s.Aliases...)

	for _, id := range ids {
		service := v1alpha1.NewService(v1alpha1.NamespaceName, id)
		*service.TypedSpec() = v1alpha1.ServiceSpec{
			Running: s.State == supervise.Running, Healthy: s.Health.Known && s.Health.Healthy, Unknown: !s.Health.Known,
		}

		if id == s.Name && s.Version != "" {
			service.Metadata().Annotations().Set(v1alpha1.AnnotationVersion, s.Version)
		}

		if err := put(ctx, local, service, func(old resource.Resource) bool {
			return *old.(*v1alpha1.Service).TypedSpec() == *service.TypedSpec() &&
				old.Metadata().Annotations().Equal(*service.Metadata().Annotations())
		}); err != nil {
			return nil, fmt.Errorf("publish service %s: %w", id, err)
		}
	}

	return ids, nil
}

func (n *Node) publishMachine(ctx context.Context, local state.State, spec runtime.MachineStatusSpec) error {
	status := runtime.NewMachineStatus(runtime.NamespaceName, runtime.MachineStatusID)
	*status.TypedSpec() = spec

	if err := put(ctx, local, status, func(resource.Resource) bool { return false }); err != nil {
		return fmt.Errorf("publish machine status: %w", err)
	}

	event := &machine.MachineStatusEvent{
		Stage:  machine.MachineStatusEvent_MachineStage(spec.Stage),
		Status: &machine.MachineStatusEvent_MachineStatus{Ready: spec.Status.Ready},
	}
	for _, c := range spec.Status.UnmetConditions {
		event.Status.UnmetConditions = append(event.Status.UnmetConditions,
			&machine.MachineStatusEvent_MachineStatus_UnmetCondition{Name: c.Name, Reason: c.Reason})
	}

	n.publish("", event)

	return nil
}

// put creates or replaces a resource unless it is there already.
func put(ctx context.Context, local state.State, r resource.Resource, same func(resource.Resource) bool) error {
	old, err := local.Get(ctx, r.Metadata())
	if state.IsNotFoundError(err) {
		return local.Create(ctx, r)
	}

	if err != nil || same(old) {
		return err
	}

	r.Metadata().SetVersion(old.Metadata().Version())

	return local.Update(ctx, r)
}

// machineStatus derives the node's stage from its services and from what configd said.
func (n *Node) machineStatus(services []supervise.Status) runtime.MachineStatusSpec {
	n.mu.Lock()
	defer n.mu.Unlock()

	unmet := unmetConditions(services)
	spec := runtime.MachineStatusSpec{Status: runtime.MachineStatusStatus{Ready: len(unmet) == 0, UnmetConditions: unmet}}

	switch {
	case n.down != nil:
		spec.Stage = sequences[n.down.Sequence].stage
	case n.known && !n.configured:
		spec.Stage = enums.MachineStageMaintenance
	case n.known && (n.settled || spec.Status.Ready):
		n.settled = true // a daemon that restarts later does not make the node boot again
		spec.Stage = enums.MachineStageRunning
	default:
		spec.Stage = enums.MachineStageBooting
	}

	return spec
}

func unmetConditions(services []supervise.Status) []runtime.UnmetCondition {
	var unmet []runtime.UnmetCondition

	for _, s := range services {
		// A daemon that serves may say that it cannot do what it is there for.
		well := s.Ready && s.State != supervise.Failed && (!s.Health.Known || s.Health.Healthy)
		if s.State == supervise.Skipped || well {
			continue
		}

		reason := s.State.String()
		if last := len(s.Events) - 1; last >= 0 {
			reason += ": " + s.Events[last].Message
		}

		unmet = append(unmet, runtime.UnmetCondition{Name: "service " + s.Name, Reason: reason})
	}

	return unmet
}
