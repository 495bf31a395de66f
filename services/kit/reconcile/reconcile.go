// Package reconcile has what most controllers need: their loop, an input, and reads for which absence is an answer.
package reconcile

import (
	"context"
	"fmt"

	"github.com/cosi-project/runtime/pkg/controller"
	"github.com/cosi-project/runtime/pkg/resource"
	"github.com/cosi-project/runtime/pkg/resource/meta"
	"github.com/cosi-project/runtime/pkg/safe"
	"github.com/cosi-project/runtime/pkg/state"
	"github.com/siderolabs/gen/optional"

	configres "github.com/dactyl-os/dactyl/proto/resource/config"
	"github.com/dactyl-os/dactyl/proto/resource/enums"
	"github.com/dactyl-os/dactyl/services/kit/router"
)

// Each runs the step at the start and on every change of an input, until ctx ends or a step fails. A step that needs what its
// owner has not told yet (router.IsUnknown) is run again when it has.
func Each(ctx context.Context, r controller.Runtime, step func() error) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-r.EventCh():
		}

		// What is not known yet comes with an event.
		if err := step(); err != nil && !router.IsUnknown(err) {
			return err
		}

		r.ResetRestartBackoff()
	}
}

// Input is one resource that a controller watches and does not hold; an empty id is all of the type.
func Input(namespace resource.Namespace, typ resource.Type, id resource.ID) controller.Input {
	in := controller.Input{Namespace: namespace, Type: typ, Kind: controller.InputWeak}
	if id != "" {
		in.ID = optional.Some(id)
	}

	return in
}

// Find gives nil when there is none; an error that says router.IsUnknown as long as its owner has not told.
func Find[T meta.ResourceWithRD](ctx context.Context, r controller.Reader, id resource.ID) (T, error) {
	var none T

	found, err := safe.ReaderGetByID[T](ctx, r, id)

	switch {
	case state.IsNotFoundError(err):
		return none, nil
	case err != nil:
		return none, fmt.Errorf("read %s %s: %w", none.ResourceDefinition().Type, id, err)
	}

	return found, nil
}

// MachineConfigInput is the active machine configuration as an input.
func MachineConfigInput() controller.Input {
	return Input(configres.NamespaceName, configres.MachineConfigType, configres.ActiveID)
}

// MachineTypeInput is the machine's type as an input.
func MachineTypeInput() controller.Input {
	return Input(configres.NamespaceName, configres.MachineTypeType, configres.MachineTypeID)
}

// MachineType gives the machine's type: MachineTypeUnknown is configd's word that the machine has no configuration, and nil that
// it has not said so: it does not know yet, or there is one that it cannot read.
func MachineType(ctx context.Context, r controller.Reader) (*enums.MachineType, error) {
	stored, err := Find[*configres.MachineType](ctx, r, configres.MachineTypeID)
	if stored == nil || err != nil {
		return nil, err
	}

	return &stored.TypedSpec().Value, nil
}
