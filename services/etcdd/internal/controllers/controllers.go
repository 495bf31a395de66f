// Package controllers are the cosi controllers of etcdd: configuration, specification, keys and the member.
package controllers

import (
	"context"
	"fmt"

	"github.com/cosi-project/runtime/pkg/controller"
	"github.com/cosi-project/runtime/pkg/resource"
	"github.com/cosi-project/runtime/pkg/state"
)

func exclusive(typ resource.Type) []controller.Output {
	return []controller.Output{{Type: typ, Kind: controller.OutputExclusive}}
}

// retire removes an output that is no longer wanted.
func retire(ctx context.Context, r controller.Runtime, pointer resource.Pointer) error {
	if err := r.Destroy(ctx, pointer); err != nil && !state.IsNotFoundError(err) {
		return fmt.Errorf("remove %s: %w", pointer.Type(), err)
	}

	return nil
}
