package configd

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"

	"github.com/cosi-project/runtime/pkg/safe"

	"github.com/dactyl-os/dactyl/proto/resource/hardware"
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
		id, err := smbios(ctx, env, "product_uuid", func(s *hardware.SystemInformationSpec) string { return s.UUID })

		return strings.ToLower(id), err
	case "serial":
		return smbios(ctx, env, "product_serial", func(s *hardware.SystemInformationSpec) string { return s.SerialNumber })
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

// smbios asks the kernel, which shows these two to root alone, and then hostd, which is root and has read them from the
// firmware's table.
func smbios(ctx context.Context, env *daemon.Env, name string, field func(*hardware.SystemInformationSpec) string) (string, error) {
	data, err := os.ReadFile(env.Path("sys", "class", "dmi", "id", name))
	if err == nil {
		return strings.TrimSpace(string(data)), nil
	}

	if !errors.Is(err, fs.ErrPermission) {
		return "", fmt.Errorf("read SMBIOS: %w", err)
	}

	info, err := safe.StateGetByID[*hardware.SystemInformation](ctx, env.State, hardware.SystemInformationID)
	if err != nil {
		return "", fmt.Errorf("ask hostd for SMBIOS: %w", err)
	}

	return field(info.TypedSpec()), nil
}
