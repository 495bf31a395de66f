// Command door connects to daemons' sockets for a test, see package door.
package main

import (
	"fmt"
	"os"

	"github.com/dactyl-os/dactyl/services/kit/kittest/door"
)

func main() {
	if err := door.Serve(); err != nil {
		fmt.Fprintln(os.Stderr, "door:", err)
		os.Exit(1)
	}
}
