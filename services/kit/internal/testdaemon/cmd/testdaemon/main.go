// Command testdaemon is the kit's own test daemon; as "copier" it is the other one.
package main

import (
	"os"

	"github.com/dactyl-os/dactyl/services/kit/daemon"
	"github.com/dactyl-os/dactyl/services/kit/internal/testdaemon"
)

func main() {
	if os.Getenv("TEST_NAME") == "copier" {
		os.Exit(daemon.Main("copier", testdaemon.Copier))
	}

	os.Exit(daemon.Main(testdaemon.Name, testdaemon.New))
}
