// Command init is PID 1 of a Dactyl node.
package main

import (
	"os"

	initd "github.com/dactyl-os/dactyl/services/init"
)

func main() { os.Exit(initd.Main()) }
