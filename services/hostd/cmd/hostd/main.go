// Command hostd runs the daemon as a program of its own.
package main

import (
	"os"

	"github.com/dactyl-os/dactyl/services/hostd"
	"github.com/dactyl-os/dactyl/services/kit/daemon"
)

func main() {
	if module, asked := hostd.ModuleRequest(os.Args); asked {
		os.Exit(hostd.LoadModule(module))
	}

	os.Exit(daemon.Main("hostd", hostd.New))
}
