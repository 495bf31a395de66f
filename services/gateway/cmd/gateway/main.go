// Program gateway is the public endpoint of a node.
package main

import (
	"os"

	"github.com/dactyl-os/dactyl/services/gateway"
	"github.com/dactyl-os/dactyl/services/kit/daemon"
)

func main() { os.Exit(daemon.Main("gateway", gateway.New)) }
