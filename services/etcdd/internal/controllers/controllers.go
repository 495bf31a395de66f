// Package controllers are the cosi controllers of etcdd: configuration, specification, keys and the member.
package controllers

import (
	"context"
	"fmt"

	"github.com/cosi-project/runtime/pkg/controller"
	"github.com/cosi-project/runtime/pkg/controller/generic"
	"github.com/cosi-project/runtime/pkg/resource"
	"github.com/cosi-project/runtime/pkg/safe"
	"github.com/cosi-project/runtime/pkg/state"
	"github.com/siderolabs/gen/optional"
)

func input(namespace resource.Namespace, typ resource.Type, id resource.ID) controller.Input {
	in := controller.Input{Namespace: namespace, Type: typ, Kind: controller.InputWeak}
	if id != "" {
		in.ID = optional.Some(id)
	}

	return in
}

func exclusive(typ resource.Type) []controller.Output {
	return []controller.Output{{Type: typ, Kind: controller.OutputExclusive}}
}

// find gives nil when the resource is not there.
func find[T generic.ResourceWithRD](ctx context.Context, r controller.Reader, id resource.ID) (T, error) {
	var none T

	got, err := safe.ReaderGetByID[T](ctx, r, id)
	if state.IsNotFoundError(err) {
		return none, nil
	}

	if err != nil {
		return none, fmt.Errorf("get %s: %w", none.ResourceDefinition().Type, err)
	}

	return got, nil
}

// each calls step at every change of an input until ctx ends.
func each(ctx context.Context, r controller.Runtime, step func() error) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-r.EventCh():
		}

		if err := step(); err != nil {
			return err
		}

		r.ResetRestartBackoff()
	}
}

// retire removes an output that is no longer wanted.
func retire(ctx context.Context, r controller.Runtime, pointer resource.Pointer) error {
	if err := r.Destroy(ctx, pointer); err != nil && !state.IsNotFoundError(err) {
		return fmt.Errorf("remove %s: %w", pointer.Type(), err)
	}

	return nil
}
