// Command trustd is the daemon of keys and certificates as a program of its own.
package main

import (
	"os"

	"github.com/dactyl-os/dactyl/services/kit/daemon"
	"github.com/dactyl-os/dactyl/services/trustd"
)

func main() { os.Exit(daemon.Main("trustd", trustd.New)) }
