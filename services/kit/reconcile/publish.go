package reconcile

import (
	"context"
	"fmt"
	"reflect"

	"github.com/cosi-project/runtime/pkg/controller"
	"github.com/cosi-project/runtime/pkg/resource"
	"github.com/cosi-project/runtime/pkg/resource/typed"
	"github.com/cosi-project/runtime/pkg/state"
	"github.com/cosi-project/runtime/pkg/state/owned"
)

// Writer is what Publish needs of a controller.Runtime, or of an owned.State.
type Writer interface {
	List(ctx context.Context, kind resource.Kind, opts ...state.ListOption) (resource.List, error)
	Create(ctx context.Context, r resource.Resource, opts ...controller.CreateOption) error
	Modify(ctx context.Context, empty resource.Resource, change func(resource.Resource) error, opts ...controller.ModifyOption) error
	Teardown(ctx context.Context, ptr resource.Pointer, opts ...controller.DeleteOption) (bool, error)
	Destroy(ctx context.Context, ptr resource.Pointer, opts ...controller.DeleteOption) error
}

// Publisher writes sets of resources.
type Publisher struct {
	Writer

	// Owner is whose resources are compared; others of the same type stay as they are.
	Owner string
}

// NewPublisher writes to the local store as owner, for publishers that have no controller.Runtime.
func NewPublisher(local state.State, owner string) Publisher {
	return Publisher{owned.New(local, owner), owner}
}

// Publish makes the publisher's resources of one type and namespace exactly those of specs: it creates, updates and removes what
// differs. What is equal is not written.
func Publish[T typed.DeepCopyable[T], E typed.Extension](
	ctx context.Context, p Publisher, make func(resource.Namespace, resource.ID) *typed.Resource[T, E],
	namespace resource.Namespace, specs map[resource.ID]T,
) error {
	kind := make(namespace, "").Metadata()

	existing, err := p.List(ctx, kind)
	if err != nil {
		return fmt.Errorf("list %s: %w", kind.Type(), err)
	}

	seen := map[resource.ID]bool{}

	for _, r := range existing.Items {
		md := r.Metadata()
		if md.Owner() != p.Owner {
			continue
		}

		spec, wanted := specs[md.ID()]

		switch {
		case !wanted:
			if err := p.remove(ctx, md); err != nil {
				return err
			}
		case !reflect.DeepEqual(*r.(*typed.Resource[T, E]).TypedSpec(), spec): //nolint:forcetypeassert // listed by its type
			if err := update(ctx, p, make(namespace, md.ID()), spec); err != nil {
				return err
			}
		}

		seen[md.ID()] = true
	}

	for id, spec := range specs {
		if seen[id] {
			continue
		}

		r := make(namespace, id)
		*r.TypedSpec() = spec

		if err := p.Create(ctx, r); err != nil {
			return fmt.Errorf("create %s: %w", r.Metadata(), err)
		}
	}

	return nil
}

func update[T typed.DeepCopyable[T], E typed.Extension](ctx context.Context, p Publisher, r *typed.Resource[T, E], spec T) error {
	err := p.Modify(ctx, r, func(r resource.Resource) error {
		*r.(*typed.Resource[T, E]).TypedSpec() = spec //nolint:forcetypeassert // made above

		return nil
	})
	if err != nil {
		return fmt.Errorf("update %s: %w", r.Metadata(), err)
	}

	return nil
}

// remove waits for nobody: a resource that others still hold (finalizers) goes when they let go of it. What nobody holds goes in one
// step: a hundred resources are a hundred events less for each watcher.
func (p Publisher) remove(ctx context.Context, md *resource.Metadata) error {
	if md.Finalizers().Empty() {
		err := p.Destroy(ctx, md)

		switch {
		case err == nil, state.IsNotFoundError(err):
			return nil
		case !state.IsConflictError(err): // held meanwhile
			return fmt.Errorf("remove %s: %w", md, err)
		}
	}

	ready, err := p.Teardown(ctx, md)
	if err == nil && ready {
		err = p.Destroy(ctx, md)
	}

	if err != nil && !state.IsNotFoundError(err) {
		return fmt.Errorf("remove %s: %w", md, err)
	}

	return nil
}
