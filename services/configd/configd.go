// Package configd owns the machine configuration and META: it acquires, validates, applies and persists them, and
// publishes them with the catalogue of all resource types.
package configd

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"

	"github.com/dactyl-os/dactyl/proto/config"
	"github.com/dactyl-os/dactyl/proto/machine"
	configres "github.com/dactyl-os/dactyl/proto/resource/config"
	"github.com/dactyl-os/dactyl/proto/resource/runtime"
	"github.com/dactyl-os/dactyl/services/configd/internal/acquire"
	"github.com/dactyl-os/dactyl/services/configd/internal/active"
	"github.com/dactyl-os/dactyl/services/configd/internal/api"
	"github.com/dactyl-os/dactyl/services/configd/internal/publish"
	"github.com/dactyl-os/dactyl/services/configd/internal/store"
	"github.com/dactyl-os/dactyl/services/kit/cmdline"
	"github.com/dactyl-os/dactyl/services/kit/daemon"
	"github.com/dactyl-os/dactyl/services/kit/report"
)

// New wires the daemon. What it knows is published before it serves, so nobody sees it half started.
func New(env *daemon.Env) error {
	params, err := cmdline.Read(env.Root)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("read kernel command line: %w", err)
	}

	platform := platformOf(params)
	onDisk := ownsDisks(env, platform.Platform)

	publisher := publish.Publisher{State: env.Local()}

	env.Redact(configres.MachineConfigType, publish.RedactConfig)

	if err := errors.Join(publisher.Types(), publisher.Platform(platform)); err != nil {
		return err
	}

	if onDisk {
		awaitVolumes(env)
	}

	files, err := store.Open(env.StateDir)
	if err != nil {
		return err
	}

	server := &api.Server{Meta: openMeta(env, params, files, publisher, onDisk)}

	if onDisk {
		files.Prepare = func(configuration []byte) error { return install(env, configuration, server.Meta) }
	}

	if !env.Alone() {
		server.Active, err = openActive(env, params, files, volumes{env, publisher, platform, onDisk})
		if err != nil {
			return err
		}
	}

	machine.RegisterMachineServiceServer(env.Server(), server)

	return nil
}

// openActive takes up the configuration, and looks for a first one where the kernel command line says.
func openActive(env *daemon.Env, params cmdline.Parameters, files *store.Store, v volumes) (*active.Active, error) {
	boot, err := bootID(env)
	if err != nil {
		return nil, err
	}

	sources, err := acquire.Sources(params)
	if err != nil {
		env.Log.Error("configuration is not looked for", "error", err)
	}

	reporter := report.New(env)
	said := word{v.publisher, store.File(env.RunFile(saidNoneFile))}

	a, err := active.Open(active.Options{
		Store:     files,
		Boot:      boot,
		Mode:      validationMode(v.platform.Platform),
		Available: v.stateAvailable,
		Sources:   []active.Source{fromEnvironment},
		Asking:    len(sources) > 0 && !said.none(),
		Publish:   said,
		Tell:      func(why string) { tell(reporter, why) },
		Reboot:    func(ctx context.Context) error { return reboot(ctx, env) },
		Log:       env.Log,
	})
	if err != nil {
		return nil, err
	}

	env.Go("report", reporter.Run)
	env.Go("take back tried configurations", a.Run)
	env.Go("read again what cannot be read", a.Retry)
	acquireInBackground(env, sources, v, a)

	return a, nil
}

// saidNoneFile marks that there was no configuration in this boot so far.
const saidNoneFile = "none"

// word remembers over a restart, not of the machine, that there is no configuration: sources that take long need not say so
// again, and the maintenance door stays open meanwhile.
type word struct {
	publish.Publisher

	file store.File
}

func (w word) none() bool {
	data, err := w.file.Read(context.Background())

	return err == nil && data != nil
}

// None is part of active.Publisher.
func (w word) None() error {
	return errors.Join(w.Publisher.None(), w.file.Write(context.Background(), []byte("\n")))
}

// Shut is part of active.Publisher.
func (w word) Shut() error { return errors.Join(w.file.Remove(), w.Publisher.Shut()) }

// Config is part of active.Publisher.
func (w word) Config(c *config.Config) error {
	return errors.Join(w.file.Remove(), w.Publisher.Config(c))
}

// tell has init say why the node is kept shut, wherever it says what a service does.
func tell(reporter *report.Reporter, why string) {
	if why == "" {
		reporter.Tell("Running", "The machine configuration is read")
	} else {
		reporter.Tell("Failed", why)
	}
}

// platformOf reads where the machine runs from the kernel command line. A daemon run outside a node is in a container as
// far as the rules of configurations go: it installs nothing.
func platformOf(parameters cmdline.Parameters) runtime.PlatformMetadataSpec {
	spec := runtime.PlatformMetadataSpec{Platform: "container"}

	if platform := parameters.Last(cmdline.Platform); platform != "" {
		spec.Platform = platform
	}

	spec.Hostname, _ = parameters.First(cmdline.Hostname)

	return spec
}

func validationMode(platform string) config.Mode {
	switch platform {
	case "container":
		return config.Container
	case "metal":
		return config.Metal
	default:
		return config.Cloud
	}
}

func bootID(env *daemon.Env) (string, error) {
	data, err := os.ReadFile(env.Path("proc", "sys", "kernel", "random", "boot_id"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return "", fmt.Errorf("read boot id: %w", err)
	}

	return strings.TrimSpace(string(data)), nil
}

// fromEnvironment takes the configuration that a container got in USERDATA, in base64.
func fromEnvironment() ([]byte, error) {
	text := os.Getenv("USERDATA")
	if text == "" {
		return nil, nil
	}

	data, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		return nil, fmt.Errorf("decode USERDATA: %w", err)
	}

	return data, nil
}

func reboot(ctx context.Context, env *daemon.Env) error {
	conn, err := env.Dial("init")
	if err != nil {
		return fmt.Errorf("dial init: %w", err)
	}

	_, err = machine.NewMachineServiceClient(conn).Reboot(ctx, &machine.RebootRequest{})

	return err
}
