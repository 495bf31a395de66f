// Command discoveryd is the membership daemon as a program of its own.
package main

import (
	"os"

	"github.com/dactyl-os/dactyl/services/discoveryd"
	"github.com/dactyl-os/dactyl/services/kit/daemon"
)

func main() { os.Exit(daemon.Main("discoveryd", discoveryd.New)) }
