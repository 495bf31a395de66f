// Command testdaemon is the kit's own test daemon; as testdaemon.CopierName it is the other one.
package main

import (
	"os"

	"github.com/dactyl-os/dactyl/services/kit/daemon"
	"github.com/dactyl-os/dactyl/services/kit/internal/testdaemon"
)

func main() {
	if os.Getenv("TEST_NAME") == testdaemon.CopierName {
		os.Exit(daemon.Main(testdaemon.CopierName, testdaemon.Copier))
	}

	os.Exit(daemon.Main(testdaemon.Name, testdaemon.New))
}
