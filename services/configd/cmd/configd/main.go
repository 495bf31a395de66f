// Command configd keeps the machine configuration and META.
package main

import (
	"os"

	"github.com/dactyl-os/dactyl/services/configd"
	"github.com/dactyl-os/dactyl/services/kit/daemon"
)

func main() { os.Exit(daemon.Main("configd", configd.New)) }
