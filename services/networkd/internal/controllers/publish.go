// Package controllers runs networkd: one controller makes the network what the configuration asks for, the other tells
// what the kernel has.
package controllers

import (
	"context"
	"fmt"
	"reflect"

	"github.com/cosi-project/runtime/pkg/resource"
	"github.com/cosi-project/runtime/pkg/resource/typed"
	"github.com/cosi-project/runtime/pkg/state"
	"github.com/cosi-project/runtime/pkg/state/owned"
)

// publisher writes one controller's resources to the local store.
type publisher struct {
	name  string
	state *owned.State
}

func newPublisher(local state.State, name string) *publisher {
	return &publisher{name: name, state: owned.New(local, name)}
}

// publish makes the publisher's resources of one type and namespace exactly those of specs; what is equal is not written.
func publish[T typed.DeepCopyable[T], E typed.Extension](
	ctx context.Context, p *publisher, make func(resource.Namespace, resource.ID) *typed.Resource[T, E],
	namespace resource.Namespace, specs map[resource.ID]T,
) error {
	kind := make(namespace, "").Metadata()

	existing, err := p.state.List(ctx, kind)
	if err != nil {
		return fmt.Errorf("list %s: %w", kind.Type(), err)
	}

	seen := map[resource.ID]bool{}

	for _, r := range existing.Items {
		md := r.Metadata()
		if md.Owner() != p.name {
			continue
		}

		spec, wanted := specs[md.ID()]

		switch {
		case !wanted:
			if err := p.destroy(ctx, md); err != nil {
				return err
			}
		case !reflect.DeepEqual(*r.(*typed.Resource[T, E]).TypedSpec(), spec):
			if err := modify(ctx, p, make(namespace, md.ID()), spec); err != nil {
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

		if err := p.state.Create(ctx, r); err != nil {
			return fmt.Errorf("create %s: %w", r.Metadata(), err)
		}
	}

	return nil
}

func modify[T typed.DeepCopyable[T], E typed.Extension](ctx context.Context, p *publisher, r *typed.Resource[T, E], spec T) error {
	err := p.state.Modify(ctx, r, func(r resource.Resource) error {
		*r.(*typed.Resource[T, E]).TypedSpec() = spec

		return nil
	})
	if err != nil {
		return fmt.Errorf("update %s: %w", r.Metadata(), err)
	}

	return nil
}

// destroy waits for nobody: a resource that others still hold (finalizers) goes when they let go of it.
func (p *publisher) destroy(ctx context.Context, md *resource.Metadata) error {
	ready, err := p.state.Teardown(ctx, md)
	if err == nil && ready {
		err = p.state.Destroy(ctx, md)
	}

	if err != nil && !state.IsNotFoundError(err) {
		return fmt.Errorf("remove %s: %w", md, err)
	}

	return nil
}
