package main

import (
	"context"
	"slices"
	"time"

	"github.com/cosi-project/runtime/pkg/resource"
	"github.com/spf13/cobra"
	"google.golang.org/protobuf/types/known/emptypb"

	"github.com/dactyl-os/dactyl/proto/config/clientconfig"
	"github.com/dactyl-os/dactyl/tools/internal/client"
)

// patience is how long a press of the tab key may take.
const patience = 2 * time.Second

func (a *app) complete(cmd *cobra.Command, flag string, values func(prefix string) []string) {
	// The only error is a flag that does not exist.
	_ = cmd.RegisterFlagCompletionFunc(flag, func(_ *cobra.Command, _ []string, prefix string) ([]string, cobra.ShellCompDirective) {
		return values(prefix), cobra.ShellCompDirectiveNoFileComp
	})
}

func (a *app) contextNames() []string {
	file, err := clientconfig.Read(a.options.ConfigPath())
	if err != nil {
		return nil
	}
	names := make([]string, 0, len(file.Contexts))
	for name := range file.Contexts {
		names = append(names, name)
	}
	slices.Sort(names)

	return names
}

// nodeNames are those of the context, and the members that a node knows.
func (a *app) nodeNames(ctx context.Context) []string {
	var names []string
	a.peek(ctx, func(ctx context.Context, c *client.Client) {
		names = append(names, c.Nodes...)
		members, err := c.State.List(ctx, resource.NewMetadata("cluster", "Members.cluster.talos.dev", "", resource.VersionUndefined), rawList())
		if err != nil {
			return
		}
		for _, m := range members.Items {
			names = append(names, m.Metadata().ID())
		}
	})
	slices.Sort(names)

	return slices.Compact(names)
}

func (a *app) serviceNames(ctx context.Context) []string {
	var names []string
	a.peek(ctx, func(ctx context.Context, c *client.Client) {
		list, err := c.Machine.ServiceList(ctx, &emptypb.Empty{})
		if err != nil {
			return
		}
		for _, m := range list.GetMessages() {
			for _, s := range m.GetServices() {
				names = append(names, s.GetId())
			}
		}
	})

	return names
}

func (a *app) logNames(ctx context.Context) []string {
	var names []string
	a.peek(ctx, func(ctx context.Context, c *client.Client) {
		list, err := c.Machine.LogsContainers(ctx, &emptypb.Empty{})
		if err != nil {
			return
		}
		for _, m := range list.GetMessages() {
			names = append(names, m.GetIds()...)
		}
	})

	return names
}

func (a *app) typeNames(ctx context.Context) []string {
	var names []string
	a.peek(ctx, func(ctx context.Context, c *client.Client) {
		definitions, err := listDefinitions(ctx, c)
		if err != nil {
			return
		}
		for _, d := range definitions {
			names = append(names, d.Aliases...)
			names = append(names, d.id())
		}
	})
	slices.Sort(names)

	return slices.Compact(names)
}

func (a *app) resourceNames(ctx context.Context, typ string) []string {
	var names []string
	a.peek(ctx, func(ctx context.Context, c *client.Client) {
		definitions, err := listDefinitions(ctx, c)
		if err != nil {
			return
		}
		d, err := findDefinition(definitions, typ)
		if err != nil {
			return
		}
		list, err := c.State.List(ctx, resource.NewMetadata(d.DefaultNamespace, d.Type, "", resource.VersionUndefined), rawList())
		if err != nil {
			return
		}
		for _, r := range list.Items {
			names = append(names, r.Metadata().ID())
		}
	})

	return names
}

// peek asks the first node; a failure is just no completion.
func (a *app) peek(ctx context.Context, use func(context.Context, *client.Client)) {
	if ctx == nil {
		ctx = context.Background()
	}
	c, err := client.Open(a.options)
	if err != nil {
		return
	}
	defer c.Close()
	ctx, cancel := context.WithTimeout(c.ToNode(ctx, c.Targets()[0]), patience)
	defer cancel()
	use(ctx, c)
}
