// Command timed keeps the node's clock right and tells its state.
package main

import (
	"os"

	"github.com/dactyl-os/dactyl/services/kit/daemon"
	"github.com/dactyl-os/dactyl/services/timed"
)

func main() { os.Exit(daemon.Main("timed", timed.New)) }
