package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"
	"google.golang.org/grpc/status"

	"github.com/dactyl-os/dactyl/tools/internal/client"
)

// quickly bounds calls that are answered at once by a node that is well.
const quickly = client.AnswerLimit

// app is what all commands share: the streams and the global flags.
type app struct {
	in       io.Reader
	out, err io.Writer
	options  client.Options
}

func (a *app) root() *cobra.Command {
	cmd := &cobra.Command{
		Use:           "dactylctl",
		Short:         "Manage Dactyl nodes and clusters",
		SilenceErrors: true,
		SilenceUsage:  true,
		Example: `  dactylctl -n 10.5.0.2 version
  dactylctl -n 10.5.0.2,10.5.0.3 get members
  dactylctl -n 10.5.0.2 service networkd restart
  dactylctl -n 10.5.0.2 logs configd -f`,
	}
	flags := cmd.PersistentFlags()
	flags.StringVar(&a.options.Config, "talosconfig", "", "path of the client configuration (default: $DACTYLCONFIG, ~/.dactyl/config, $TALOSCONFIG, ~/.talos/config, /var/run/secrets/talos.dev/config)")
	flags.StringVar(&a.options.Config, "dactylconfig", "", "the same as --talosconfig")
	flags.StringVar(&a.options.Context, "context", "", "context of the client configuration to use")
	flags.StringVar(&a.options.Cluster, "cluster", "", "cluster to connect to when the endpoint is a proxy for many")
	flags.StringSliceVarP(&a.options.Endpoints, "endpoints", "e", nil, "gateways to connect to, instead of the context's")
	flags.StringSliceVarP(&a.options.Nodes, "nodes", "n", nil, "nodes to talk to (default: the context's, or the endpoint when it is the only one)")
	a.complete(cmd, "context", func(string) []string { return a.contextNames() })
	a.complete(cmd, "nodes", func(string) []string { return a.nodeNames(cmd.Context()) })

	cmd.AddCommand(
		a.applyConfigCommand(), a.bootstrapCommand(), a.clusterCommand(), a.configCommand(), a.containersCommand(), a.copyCommand(),
		a.disksCommand(), a.dmesgCommand(),
		a.editCommand(), a.etcdCommand(), a.eventsCommand(), a.genCommand(), a.getCommand(), a.healthCommand(), a.imageCommand(), a.inspectCommand(),
		a.listCommand(), a.logsCommand(), a.machineConfigCommand(), a.memoryCommand(), a.metaCommand(),
		a.mountsCommand(), a.netstatCommand(), a.patchCommand(), a.pcapCommand(), a.processesCommand(), a.readCommand(), a.rebootCommand(), a.resetCommand(), a.restartCommand(),
		a.serviceCommand(), a.shutdownCommand(), a.statsCommand(), a.supportCommand(), a.timeCommand(), a.usageCommand(),
		a.validateCommand(), a.versionCommand(),
		a.rotateCACommand(),
	)

	return cmd
}

// connect runs a command against the cluster; errors come back with advice.
func (a *app) connect(cmd *cobra.Command, use func(context.Context, *client.Client) error) error {
	if a.options.Insecure && len(a.options.Endpoints) == 0 && len(a.options.Nodes) > 1 {
		return a.connectEach(cmd, use)
	}
	c, err := client.Open(a.options)
	if err != nil {
		return client.Explain(err, a.options.Endpoints)
	}
	defer c.Close()

	return explain(ofNode(c, use(cmd.Context(), c)), a.where(c))
}

// ofNode names the node of what one node answered.
func ofNode(c *client.Client, err error) error {
	if _, answered := status.FromError(err); err == nil || !answered || len(c.Targets()) > 1 {
		return err
	}

	return atNode(c.Targets()[0], err)
}

// connectEach is connect for several nodes in maintenance mode: none of them
// can speak for another.
func (a *app) connectEach(cmd *cobra.Command, use func(context.Context, *client.Client) error) error {
	var errs []error
	for _, node := range a.options.Nodes {
		one := *a
		one.options.Nodes = []string{node}
		if err := one.connect(cmd, use); err != nil {
			errs = append(errs, &client.NodeError{Node: node, Err: err})
		}
	}

	return errors.Join(errs...)
}

// where names what was dialled, for advice.
func (a *app) where(c *client.Client) []string {
	hosts := make([]string, len(c.Endpoints))
	for i, e := range c.Endpoints {
		hosts[i] = strings.TrimSuffix(e, ":"+client.Port)
	}

	return hosts
}

// ask is connect for a quick call to all nodes at once.
func (a *app) ask(cmd *cobra.Command, use func(context.Context, *client.Client) error) error {
	return a.connect(cmd, func(ctx context.Context, c *client.Client) error {
		ctx, cancel := context.WithTimeout(c.ToNodes(ctx), quickly)
		defer cancel()

		return use(ctx, c)
	})
}

// oneNode is connect for a command that only makes sense for one node.
func (a *app) oneNode(cmd *cobra.Command, use func(context.Context, *client.Client, string) error) error {
	return a.connect(cmd, func(ctx context.Context, c *client.Client) error {
		if len(c.Nodes) > 1 {
			return fmt.Errorf("%s works on one node, and %d are set: choose one with -n", cmd.CommandPath(), len(c.Nodes))
		}
		node := c.Targets()[0]

		return use(c.ToNode(ctx, node), c, node)
	})
}

// everyNode calls use for the nodes one after the other and joins the errors.
func everyNode(ctx context.Context, c *client.Client, use func(context.Context, string) error) error {
	var errs []error
	for _, node := range c.Targets() {
		if err := use(c.ToNode(ctx, node), node); err != nil {
			errs = append(errs, atNode(node, err))
		}
	}

	return errors.Join(errs...)
}

// atNode names the node of an error that does not name it yet.
func atNode(node string, err error) error {
	var named *client.NodeError
	if errors.As(err, &named) {
		return err
	}

	return &client.NodeError{Node: node, Err: err}
}

// insecureFlags adds the flags of commands that work in maintenance mode.
func (a *app) insecureFlags(cmd *cobra.Command) {
	cmd.Flags().BoolVarP(&a.options.Insecure, "insecure", "i", false, insecureUsage)
	a.fingerprintFlag(cmd)
}

const insecureUsage = "talk to a node in maintenance mode, without certificates"

// insecureFlag is insecureFlags for a command that takes no -i.
func (a *app) insecureFlag(cmd *cobra.Command) {
	cmd.Flags().BoolVar(&a.options.Insecure, "insecure", false, insecureUsage)
	a.fingerprintFlag(cmd)
}

func (a *app) fingerprintFlag(cmd *cobra.Command) {
	cmd.Flags().StringSliceVar(&a.options.Fingerprints, "cert-fingerprint", nil, "accept only a node whose certificate has one of these fingerprints (with --insecure)")
}
