package controllers

import (
	"context"
	"fmt"

	"github.com/cosi-project/runtime/pkg/controller"
	"github.com/cosi-project/runtime/pkg/controller/generic"
	"github.com/cosi-project/runtime/pkg/resource"
	"github.com/cosi-project/runtime/pkg/safe"
	"github.com/cosi-project/runtime/pkg/state"
)

// publish makes the resources of one type exactly those of the map.
func publish[T generic.ResourceWithRD, V any](
	ctx context.Context, r controller.Runtime, make func(resource.Namespace, resource.ID) T, namespace resource.Namespace,
	want map[string]V, set func(T, V),
) error {
	for id, value := range want {
		err := safe.WriterModify(ctx, r, make(namespace, id), func(res T) error {
			set(res, value)

			return nil
		})
		if err != nil {
			return fmt.Errorf("publish %s: %w", id, err)
		}
	}

	list, err := safe.ReaderListAll[T](ctx, r)
	if err != nil {
		return fmt.Errorf("list: %w", err)
	}

	for res := range list.All() {
		if _, ok := want[res.Metadata().ID()]; ok {
			continue
		}

		if err = r.Destroy(ctx, res.Metadata()); err != nil && !state.IsNotFoundError(err) {
			return fmt.Errorf("remove %s: %w", res.Metadata().ID(), err)
		}
	}

	return nil
}
