// Package hostd owns what the host is and has: files, processes, memory, kernel parameters, hardware.
package hostd

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"time"

	"google.golang.org/grpc"

	"github.com/dactyl-os/dactyl/proto/machine"
	"github.com/dactyl-os/dactyl/services/kit/cmdline"
	"github.com/dactyl-os/dactyl/services/kit/daemon"

	"github.com/dactyl-os/dactyl/services/hostd/internal/controllers"
	"github.com/dactyl-os/dactyl/services/hostd/internal/files"
	"github.com/dactyl-os/dactyl/services/hostd/internal/modules"
	"github.com/dactyl-os/dactyl/services/hostd/internal/operators"
	"github.com/dactyl-os/dactyl/services/hostd/internal/proc"
	"github.com/dactyl-os/dactyl/services/hostd/internal/sysctl"
)

// New wires the daemon.
func New(env *daemon.Env) error {
	parameters, err := cmdline.Read(env.Root)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("read kernel command line: %w", err)
	}

	kernel := proc.FS(env.Path("proc"))

	machine.RegisterMachineServiceServer(env.Server(), &operators.Server{
		Root: files.Root(env.Root), Proc: kernel, Kmsg: env.Path("dev", "kmsg"),
	})

	if scope(env, parameters) == sysctl.All {
		if err := devices(env, parameters); err != nil {
			return err
		}
	}

	security := &controllers.Security{Log: env.Log}
	if scope(env, parameters) == sysctl.All {
		security.SecureBoot = env.Path("sys", "firmware", "efi", "efivars", "SecureBoot-8be4df61-93ca-11d2-aa0d-00e098032b8c")
	}

	return errors.Join(
		env.Controller(security),
		env.Controller(&controllers.Roots{Dir: env.Path("etc")}),
		env.Controller(&controllers.Sinks{
			KernelLog: parameters.Last(cmdline.LoggingKernel), EventSink: parameters.Last(cmdline.EventsSink), Kmsg: env.Path("dev", "kmsg"),
			RunDir: filepath.Dir(env.RunFile("sent")), Init: func() (*grpc.ClientConn, error) { return env.Dial("init") }, Log: env.Log,
		}),
		env.Controller(&controllers.Params{
			Kernel: sysctl.Kernel{Root: env.Root}, Scope: scope(env, parameters), Panic: parameters.Has(cmdline.Panic), Log: env.Log,
		}),
		env.Controller(&controllers.EtcFiles{Dir: env.Path("etc"), Log: env.Log}),
		env.Controller(&controllers.Perf{Proc: kernel}),
		env.Controller(&controllers.Hardware{Table: env.Path("sys", "firmware", "dmi", "tables", "DMI"), Log: env.Log}),
	)
}

// devices adds the device manager, on a kernel of the node's own. Without modules of that kernel the node has what is built in.
func devices(env *daemon.Env, parameters cmdline.Parameters) error {
	loader, err := modules.Open(env.Root)
	if err != nil {
		env.Log.Warn("no drivers are loaded", "error", err)
		loader = &modules.Loader{}
	}

	answerKernel(env)

	settle, err := settleTime(parameters)
	if err != nil {
		env.Log.Warn("kernel parameter not used", "error", err)
	}

	return env.Controller(&controllers.Devices{
		Loader: loader, Sys: env.Path("sys"), Names: env.Path("usr", "share", "misc", "pci.ids"), Settle: settle, Log: env.Log,
	})
}

// settleTime is how long to wait for more devices when none come any more.
func settleTime(parameters cmdline.Parameters) (time.Duration, error) {
	text := parameters.Last(cmdline.DeviceSettleTime)
	if text == "" {
		return 0, nil
	}

	settle, err := time.ParseDuration(text)

	switch {
	case err != nil:
		return 0, fmt.Errorf("%s=%s: want a time such as 3s or 1m: %w", cmdline.DeviceSettleTime, text, err)
	case settle < 0:
		return 0, fmt.Errorf("%s=%s: want a time that is not negative", cmdline.DeviceSettleTime, text)
	default:
		return settle, nil
	}
}

// scope says which kernel parameters are the node's. On a laptop, and wherever the platform is not said, none of the
// shared ones are.
func scope(env *daemon.Env, parameters cmdline.Parameters) sysctl.Scope {
	switch platform := parameters.Last("talos.platform"); {
	case env.Alone() && env.Root == "/":
		return sysctl.None
	case platform == "" || platform == "container":
		return sysctl.Namespaced
	default:
		return sysctl.All
	}
}
