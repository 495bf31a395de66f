// Command diskd owns disks, volumes, mounts and the META partition.
package main

import (
	"os"

	"github.com/dactyl-os/dactyl/services/diskd"
	"github.com/dactyl-os/dactyl/services/kit/daemon"
)

func main() { os.Exit(daemon.Main("diskd", diskd.New)) }
