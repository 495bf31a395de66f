package daemon

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"go.yaml.in/yaml/v4"

	"github.com/cosi-project/runtime/pkg/resource"
	"github.com/cosi-project/runtime/pkg/state"

	types "github.com/dactyl-os/dactyl/proto/resource"
	"github.com/dactyl-os/dactyl/proto/resource/config"
)

// reread is how often a daemon that runs alone looks whether its configuration file changed.
const reread = time.Second

// prepare makes the resource types known; when the daemon runs alone, the file's configuration becomes the resources
// that configd would publish.
func (e *Env) prepare() error {
	if err := types.Register(); err != nil {
		return fmt.Errorf("register resource types: %w", err)
	}

	if !e.Alone() {
		return nil
	}

	data, err := os.ReadFile(e.ConfigFile)
	if err != nil {
		return fmt.Errorf("read configuration: %w", err)
	}

	if err := publishConfig(context.Background(), e.Local(), data); err != nil {
		return fmt.Errorf("configuration %s: %w", e.ConfigFile, err)
	}

	e.Go("configuration file", func(ctx context.Context) error { return e.followFile(ctx, data) })

	return nil
}

// followFile publishes the file again when it changed. A file that cannot be read leaves the configuration as it is.
func (e *Env) followFile(ctx context.Context, last []byte) error {
	tick := time.NewTicker(reread)
	defer tick.Stop()

	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}

		data, err := os.ReadFile(e.ConfigFile)
		if err != nil || bytes.Equal(data, last) {
			continue
		}

		last = data

		if err := publishConfig(ctx, e.Local(), data); err != nil {
			e.Log.Error("configuration file not taken", "file", e.ConfigFile, "error", err)
		}
	}
}

func publishConfig(ctx context.Context, st state.State, data []byte) error {
	machineType, err := machineTypeOf(data)
	if err != nil {
		return err
	}

	err = st.Modify(ctx, config.NewMachineConfig(config.NamespaceName, config.ActiveID), func(r resource.Resource) error {
		r.(*config.MachineConfig).TypedSpec().Data = data //nolint:forcetypeassert // made above

		return nil
	})
	if err != nil || machineType == "" {
		return err
	}

	return st.Modify(ctx, config.NewMachineType(config.NamespaceName, config.MachineTypeID), func(r resource.Resource) error {
		return r.(*config.MachineType).TypedSpec().Value.UnmarshalText([]byte(machineType)) //nolint:forcetypeassert // made above
	})
}

// machineTypeOf finds machine.type in the v1alpha1 document. The daemon itself reads the rest, strictly.
func machineTypeOf(data []byte) (string, error) {
	for decoder := yaml.NewDecoder(bytes.NewReader(data)); ; {
		var doc struct {
			Machine struct {
				Type string `yaml:"type"`
			} `yaml:"machine"`
		}

		switch err := decoder.Decode(&doc); {
		case errors.Is(err, io.EOF):
			return "", nil
		case err != nil:
			return "", err
		case doc.Machine.Type != "":
			return doc.Machine.Type, nil
		}
	}
}
