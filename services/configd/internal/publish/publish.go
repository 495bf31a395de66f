// Package publish makes configd's knowledge resources.
package publish

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/cosi-project/runtime/pkg/resource"
	cosimeta "github.com/cosi-project/runtime/pkg/resource/meta"
	"github.com/cosi-project/runtime/pkg/state"

	"github.com/dactyl-os/dactyl/proto/config"
	"github.com/dactyl-os/dactyl/proto/config/redact"
	"github.com/dactyl-os/dactyl/proto/meta"
	types "github.com/dactyl-os/dactyl/proto/resource"
	configres "github.com/dactyl-os/dactyl/proto/resource/config"
	"github.com/dactyl-os/dactyl/proto/resource/enums"
	"github.com/dactyl-os/dactyl/proto/resource/runtime"
	"github.com/dactyl-os/dactyl/services/kit/reconcile"
)

// TokenKey is the META key of the unique machine token.
const TokenKey = 0x0f

// Publisher writes to configd's own store.
type Publisher struct{ State state.State }

// Config publishes the configuration in force.
func (p Publisher) Config(c *config.Config) error {
	ctx := context.Background()

	err := modify(ctx, p.State, configres.NewMachineConfig(configres.NamespaceName, configres.ActiveID), func(r *configres.MachineConfig) error {
		r.TypedSpec().Data = c.Bytes()

		return nil
	})

	return errors.Join(err, p.machineType(func(r *configres.MachineType) error {
		return r.TypedSpec().Value.UnmarshalText([]byte(c.MachineType()))
	}))
}

// None says that the machine has no configuration: its type is unknown.
func (p Publisher) None() error {
	return p.machineType(func(r *configres.MachineType) error {
		r.TypedSpec().Value = enums.MachineTypeUnknown

		return nil
	})
}

// Shut says nothing about the machine: there is no type and no configuration.
func (p Publisher) Shut() error {
	return p.gone(context.Background(), configres.NewMachineType(configres.NamespaceName, configres.MachineTypeID))
}

func (p Publisher) machineType(change func(*configres.MachineType) error) error {
	return modify(context.Background(), p.State, configres.NewMachineType(configres.NamespaceName, configres.MachineTypeID), change)
}

// RedactConfig gives a MachineConfig without secrets, for the daemons that need none.
func RedactConfig(r resource.Resource) (resource.Resource, error) {
	machineConfig, ok := r.(*configres.MachineConfig)
	if !ok {
		return nil, fmt.Errorf("redact %s: not a machine configuration", r.Metadata().Type())
	}

	parsed, err := config.Parse(machineConfig.TypedSpec().Data)
	if err != nil {
		return nil, fmt.Errorf("redact machine configuration: %w", err)
	}

	// Only what loads is published.
	data, err := redact.Parsed(parsed)
	if err != nil {
		return nil, fmt.Errorf("redact machine configuration: %w", err)
	}

	machineConfig.TypedSpec().Data = data

	return machineConfig, nil
}

// MetaID is the identifier of a META key.
func MetaID(key uint8) resource.ID { return fmt.Sprintf("0x%02x", key) }

// Meta publishes META's values and takes away those that are gone.
func (p Publisher) Meta(values meta.Values) error {
	ctx := context.Background()

	keys := make(map[resource.ID]runtime.MetaKeySpec, len(values))
	for key, value := range values {
		keys[MetaID(key)] = runtime.MetaKeySpec{Value: string(value)}
	}

	if err := reconcile.Publish(ctx, reconcile.NewPublisher(p.State, ""), runtime.NewMetaKey, runtime.NamespaceName, keys); err != nil {
		return err
	}

	err := modify(ctx, p.State, runtime.NewUniqueMachineToken(runtime.NamespaceName, runtime.UniqueMachineTokenID), func(r *runtime.UniqueMachineToken) error {
		r.TypedSpec().Token = string(values[TokenKey])

		return nil
	})

	return errors.Join(err, modify(ctx, p.State, runtime.NewMetaLoaded(runtime.NamespaceName, runtime.MetaLoadedID), func(r *runtime.MetaLoaded) error {
		r.TypedSpec().Done = true

		return nil
	}))
}

// Platform publishes where the machine runs.
func (p Publisher) Platform(spec runtime.PlatformMetadataSpec) error {
	return modify(context.Background(), p.State, runtime.NewPlatformMetadata(runtime.NamespaceName, runtime.PlatformMetadataID), func(r *runtime.PlatformMetadata) error {
		*r.TypedSpec() = spec

		return nil
	})
}

// Types publishes every resource type of the node and their namespaces, by which clients find them.
func (p Publisher) Types() error {
	ctx := context.Background()
	namespaces := map[resource.Namespace]bool{}

	for _, definition := range types.Definitions() {
		namespaces[definition.Namespace] = true

		r, err := cosimeta.NewResourceDefinition(definition.Spec())
		if err != nil {
			return fmt.Errorf("define %s: %w", definition.Type, err)
		}

		if err := p.State.Create(ctx, r); err != nil {
			return fmt.Errorf("define %s: %w", definition.Type, err)
		}
	}

	for _, name := range slices.Sorted(maps.Keys(namespaces)) {
		if err := p.State.Create(ctx, cosimeta.NewNamespace(name, cosimeta.NamespaceSpec{Description: name + " resources"})); err != nil {
			return fmt.Errorf("make namespace %s: %w", name, err)
		}
	}

	return nil
}

func (p Publisher) gone(ctx context.Context, r resource.Resource) error {
	err := p.State.TeardownAndDestroy(ctx, r.Metadata())
	if state.IsNotFoundError(err) {
		return nil
	}

	return err
}

// modify creates or updates a resource of a known type; what stays the same is not written.
func modify[T resource.Resource](ctx context.Context, st state.State, empty T, change func(T) error) error {
	err := st.Modify(ctx, empty, func(r resource.Resource) error {
		return change(r.(T)) //nolint:forcetypeassert // made or found by its type
	})
	if err != nil {
		return fmt.Errorf("publish %s: %w", empty.Metadata().Type(), err)
	}

	return nil
}
