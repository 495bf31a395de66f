// Command etcdd runs the daemon as a program of its own.
package main

import (
	"os"

	"github.com/dactyl-os/dactyl/services/etcdd"
	"github.com/dactyl-os/dactyl/services/kit/daemon"
)

func main() { os.Exit(daemon.Main("etcdd", etcdd.New)) }
