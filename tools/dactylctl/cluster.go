package main

import (
	"github.com/spf13/cobra"

	"github.com/dactyl-os/dactyl/tools/internal/cluster/command"
)

// clusterCommand makes clusters on this machine.
func (a *app) clusterCommand() *cobra.Command { return command.New() }
