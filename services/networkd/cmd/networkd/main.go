// Command networkd configures the node's network and tells its state.
package main

import (
	"os"

	"github.com/dactyl-os/dactyl/services/kit/daemon"
	"github.com/dactyl-os/dactyl/services/networkd"
)

func main() { os.Exit(daemon.Main("networkd", networkd.New)) }
