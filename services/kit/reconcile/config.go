package reconcile

import (
	"context"
	"fmt"

	"github.com/cosi-project/runtime/pkg/controller"

	"github.com/dactyl-os/dactyl/proto/config"
	configres "github.com/dactyl-os/dactyl/proto/resource/config"
)

// MachineConfig gives the active machine configuration, nil as long as there is none. Everybody in the daemon gets the same
// one, parsed once for each change: it must not be changed.
func MachineConfig(ctx context.Context, r controller.Reader) (*config.Config, error) {
	stored, err := Find[*configres.MachineConfig](ctx, r, configres.ActiveID)
	if stored == nil || err != nil {
		return nil, err
	}

	parsed, err := parse(r, stored.TypedSpec().Data)
	if err != nil {
		return nil, fmt.Errorf("load machine configuration: %w", err)
	}

	return parsed, nil
}

// parse asks the memory that the controllers of a daemon share, if r is one's.
func parse(r controller.Reader, data []byte) (*config.Config, error) {
	shared, ok := r.(interface {
		Parse(kind string, data []byte, parse func([]byte) (any, error)) (any, error)
	})
	if !ok {
		return config.Load(data)
	}

	parsed, err := shared.Parse(configres.MachineConfigType, data, func(data []byte) (any, error) { return config.Load(data) })
	if err != nil {
		return nil, err
	}

	return parsed.(*config.Config), nil //nolint:forcetypeassert // made above
}
