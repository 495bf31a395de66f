package configd

import (
	"context"
	"fmt"
	"os"
	"strings"

	"github.com/cosi-project/runtime/pkg/safe"

	"github.com/dactyl-os/dactyl/proto/resource/network"
	"github.com/dactyl-os/dactyl/services/kit/daemon"

	"github.com/dactyl-os/dactyl/services/configd/internal/acquire"
	"github.com/dactyl-os/dactyl/services/configd/internal/active"
)

// acquireInBackground looks for a configuration where the kernel command line says, as long as there is none in force: what is
// applied through the API first wins.
func acquireInBackground(env *daemon.Env, sources []acquire.Source, v volumes, a *active.Active) {
	finder := acquire.Finder{
		Variable: func(ctx context.Context, name string) (string, error) { return variable(ctx, env, name) },
		Volume:   v.configuration,
		Take:     a.Adopt,
		Done:     func() bool { return a.Current() != nil },
		Private:  a.Damaged,
		Asked:    a.Asked,
		Log:      env.Log,
	}

	env.Go("acquire the configuration", func(ctx context.Context) error { return finder.Run(ctx, sources) })
}

// variable gives what a configuration URL may ask about the machine.
func variable(ctx context.Context, env *daemon.Env, name string) (string, error) {
	switch name {
	case "uuid":
		id, err := dmi(env, "product_uuid")

		return strings.ToLower(id), err
	case "serial":
		return dmi(env, "product_serial")
	case "mac":
		first, err := safe.StateGetByID[*network.HardwareAddr](ctx, env.State, network.FirstHardwareAddr)
		if err != nil {
			return "", fmt.Errorf("read the first hardware address: %w", err)
		}

		return first.TypedSpec().HardwareAddr.String(), nil
	default:
		status, err := safe.StateGetByID[*network.HostnameStatus](ctx, env.State, network.HostnameID)
		if err != nil {
			return "", fmt.Errorf("read the hostname: %w", err)
		}

		return status.TypedSpec().Hostname, nil
	}
}

func dmi(env *daemon.Env, name string) (string, error) {
	data, err := os.ReadFile(env.Path("sys", "class", "dmi", "id", name))
	if err != nil {
		return "", fmt.Errorf("read SMBIOS: %w", err)
	}

	return strings.TrimSpace(string(data)), nil
}
