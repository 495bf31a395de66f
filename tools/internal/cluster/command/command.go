// Package command is the client's command `cluster`: local clusters on this machine.
package command

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/dactyl-os/dactyl/tools/internal/cluster"
)

// global are the flags of every cluster command.
type global struct {
	name, state, provisioner string
}

// New makes the command.
func New() *cobra.Command {
	g := &global{}
	cmd := &cobra.Command{
		Use:               "cluster",
		Short:             "Make, show and remove clusters on this machine",
		PersistentPreRunE: func(*cobra.Command, []string) error { return g.check() },
	}

	flags := cmd.PersistentFlags()
	flags.StringVar(&g.name, "name", cluster.DefaultName, "name of the cluster")
	flags.StringVar(&g.provisioner, "provisioner", cluster.DefaultProvisioner, "what nodes are made of: sandbox or qemu")
	flags.StringVar(&g.state, "state", defaultState(), "directory with the state of clusters")
	cmd.AddCommand(createCommand(g), destroyCommand(g), showCommand(g), machineCommand(g))

	return cmd
}

func defaultState() string {
	home, err := os.UserHomeDir()
	if err != nil {
		home = "/root"
	}

	return filepath.Join(home, ".dactyl", "clusters")
}

func (g *global) check() error {
	if g.provisioner != cluster.DefaultProvisioner && g.provisioner != cluster.QEMU {
		return fmt.Errorf("provisioner %q is not here yet: use --provisioner %s or %s", g.provisioner, cluster.DefaultProvisioner, cluster.QEMU)
	}

	absolute, err := filepath.Abs(g.state)
	if err != nil {
		return fmt.Errorf("--state: %w", err)
	}

	g.state = absolute

	return nil
}

func destroyCommand(g *global) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "destroy",
		Short: "End a cluster and leave nothing of it behind",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return cluster.Destroy(cmd.Context(), g.state, g.name, cmd.OutOrStdout())
		},
	}
	cmd.Flags().BoolP("force", "f", false, "accepted for older scripts: destroying always works")

	return cmd
}

func showCommand(g *global) *cobra.Command {
	return &cobra.Command{
		Use:   "show",
		Short: "Show nodes, services and members of a cluster",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := cluster.Load(g.state, g.name)
			if err != nil {
				return fmt.Errorf("%w: make it with `dactylctl cluster create`", err)
			}

			return c.Show(cmd.Context(), cmd.OutOrStdout())
		},
	}
}

// machineCommand is run by cluster create for each node, and by that for each boot.
func machineCommand(g *global) *cobra.Command {
	var (
		node, boot string
		services   bool
	)

	cmd := &cobra.Command{
		Use:    "machine",
		Short:  "Play the hardware of one node",
		Args:   cobra.NoArgs,
		Hidden: true,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if boot != "" {
				return cluster.Boot(boot)
			}

			if services {
				return cluster.ServeNetwork(cmd.Context(), g.state, g.name)
			}

			return cluster.Supervise(cmd.Context(), g.state, g.name, node)
		},
	}
	cmd.Flags().StringVar(&node, "node", "", "name of the node")
	cmd.Flags().BoolVar(&services, "services", false, "play the rest of the network instead: DHCP server and load balancer")
	cmd.Flags().StringVar(&boot, "boot", "", "become the node's init, as this order says")

	return cmd
}

// atFiles replaces patches of the form @FILE by the file's content.
func atFiles(patches []string) ([]string, error) {
	out := make([]string, len(patches))

	for i, p := range patches {
		out[i] = p

		if path, isFile := strings.CutPrefix(p, "@"); isFile {
			data, err := os.ReadFile(path)
			if err != nil {
				return nil, fmt.Errorf("read patch: %w", err)
			}

			out[i] = string(data)
		}
	}

	return out, nil
}
