package main

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/cosi-project/runtime/pkg/resource"
	"github.com/cosi-project/runtime/pkg/state"
	"github.com/spf13/cobra"

	"github.com/dactyl-os/dactyl/tools/internal/client"
)

type getFlags struct {
	namespace string
	output    string
	watch     bool
}

func (a *app) getCommand() *cobra.Command {
	var f getFlags
	cmd := &cobra.Command{
		Use:     "get <type> [<id>]",
		Aliases: []string{"g"},
		Short:   "Show resources: what the daemons of a node want and see",
		Long:    "Show resources of a type, or one of them. `dactylctl get rd` lists the types.",
		Args:    cobra.RangeArgs(1, 2),
		Example: `  dactylctl -n 10.5.0.2 get addresses
  dactylctl -n 10.5.0.2 get members -w
  dactylctl -n 10.5.0.2 get machineconfig v1alpha1 -o yaml
  dactylctl -n 10.5.0.2 get links eth0 -o jsonpath='{.spec.hardwareAddr}'`,
		ValidArgsFunction: a.completeResource,
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.connect(cmd, func(ctx context.Context, c *client.Client) error { return a.get(ctx, c, args, f) })
		},
	}
	a.insecureFlags(cmd)
	cmd.Flags().StringVar(&f.namespace, "namespace", "", "namespace of the resources (default is the one of the type)")
	cmd.Flags().StringVarP(&f.output, "output", "o", "table", "how to print: table, yaml, json or jsonpath='{.spec.x}'")
	cmd.Flags().BoolVarP(&f.watch, "watch", "w", false, "go on and print changes")
	a.complete(cmd, "output", func(string) []string { return []string{"table", "yaml", "json", "jsonpath="} })

	return cmd
}

func (a *app) completeResource(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	switch len(args) {
	case 0:
		return a.typeNames(cmd.Context()), cobra.ShellCompDirectiveNoFileComp
	case 1:
		return a.resourceNames(cmd.Context(), args[0]), cobra.ShellCompDirectiveNoFileComp
	}

	return nil, cobra.ShellCompDirectiveNoFileComp
}

func (a *app) get(ctx context.Context, c *client.Client, args []string, f getFlags) error {
	d, err := firstDefinition(ctx, c, args[0])
	if err != nil {
		return err
	}
	id := ""
	if len(args) == 2 {
		id = args[1]
	}
	namespace := d.DefaultNamespace
	if f.namespace != "" {
		namespace = f.namespace
	}
	p, err := newPrinter(a.out, f.output, d, f.watch)
	if err != nil {
		return err
	}
	pointer := resource.NewMetadata(namespace, d.Type, id, resource.VersionUndefined)
	if f.watch {
		return watchResources(ctx, c, pointer, p)
	}
	failed := everyNode(ctx, c, func(ctx context.Context, node string) error {
		ctx, cancel := context.WithTimeout(ctx, quickly)
		defer cancel()
		items, err := fetch(ctx, c, pointer)
		if err != nil {
			return err
		}
		for _, r := range items {
			if err := p.print(node, "", r); err != nil {
				return err
			}
		}

		return nil
	})
	if p.printed == 0 && failed != nil {
		return failed
	}

	return errors.Join(p.flush(), failed)
}

// firstDefinition asks the nodes in turn: any that is there knows the types.
func firstDefinition(ctx context.Context, c *client.Client, name string) (definition, error) {
	var last error
	for _, node := range c.Targets() {
		ctx, cancel := context.WithTimeout(c.ToNode(ctx, node), quickly)
		definitions, err := listDefinitions(ctx, c)
		cancel()
		if err == nil {
			return findDefinition(definitions, name)
		}
		last = err
	}

	return definition{}, last
}

func fetch(ctx context.Context, c *client.Client, pointer resource.Metadata) ([]resource.Resource, error) {
	if pointer.ID() == "" {
		list, err := c.State.List(ctx, pointer, rawList())

		return list.Items, err
	}
	r, err := c.State.Get(ctx, pointer, state.WithGetUnmarshalOptions(state.WithSkipProtobufUnmarshal()))
	if state.IsNotFoundError(err) {
		return nil, fmt.Errorf("no %s %q in namespace %q", shortType(pointer.Type()), pointer.ID(), pointer.Namespace())
	}
	if err != nil {
		return nil, err
	}

	return []resource.Resource{r}, nil
}

func shortType(typ string) string {
	name, _, _ := strings.Cut(typ, ".")

	return name
}

// change is an event of one node's watch.
type change struct {
	node  string
	event state.Event
}

// watchResources follows all nodes until it is interrupted; each watch resumes
// by itself when the connection or a daemon goes away.
func watchResources(ctx context.Context, c *client.Client, pointer resource.Metadata, p *printer) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	changes := make(chan change)
	var failed []error
	watching := 0
	for _, node := range c.Targets() {
		events := make(chan state.Event)
		if err := startWatch(c.ToNode(ctx, node), c, pointer, events); err != nil {
			failed = append(failed, &client.NodeError{Node: node, Err: err})

			continue
		}
		watching++
		go func() {
			for {
				select {
				case e := <-events:
					select {
					case changes <- change{node, e}:
					case <-ctx.Done():
						return
					}
				case <-ctx.Done():
					return
				}
			}
		}()
	}
	for watching > 0 {
		select {
		case <-ctx.Done():
			return errors.Join(failed...)
		case ch := <-changes:
			if ch.event.Type == state.Errored {
				failed = append(failed, &client.NodeError{Node: ch.node, Err: ch.event.Error})
				watching--

				continue
			}
			if err := printChange(p, ch); err != nil {
				return err
			}
		}
	}

	return errors.Join(failed...)
}

func startWatch(ctx context.Context, c *client.Client, pointer resource.Metadata, events chan<- state.Event) error {
	if pointer.ID() != "" {
		return c.State.Watch(ctx, pointer, events, state.WithWatchUnmarshalOptions(state.WithSkipProtobufUnmarshal()))
	}

	return c.State.WatchKind(ctx, pointer, events, state.WithBootstrapContents(true),
		state.WithWatchKindUnmarshalOptions(state.WithSkipProtobufUnmarshal()))
}

func printChange(p *printer, ch change) error {
	sign := map[state.EventType]string{state.Created: "+", state.Updated: " ", state.Destroyed: "-"}
	mark, shown := sign[ch.event.Type]
	if !shown || ch.event.Resource == nil || resource.IsTombstone(ch.event.Resource) {
		return nil
	}
	if err := p.print(ch.node, mark, ch.event.Resource); err != nil {
		return err
	}

	return p.flush()
}
