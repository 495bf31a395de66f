package main

import (
	"context"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"google.golang.org/protobuf/types/known/emptypb"

	"github.com/dactyl-os/dactyl/proto/inspect"
	"github.com/dactyl-os/dactyl/tools/internal/client"
)

func (a *app) inspectCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "inspect", Short: "Show how a node is put together",
		Example: "  dactylctl -n 10.5.0.2 inspect dependencies | dot -Tsvg >node.svg",
	}
	cmd.AddCommand(a.inspectDependenciesCommand())

	return cmd
}

func (a *app) inspectDependenciesCommand() *cobra.Command {
	var withResources bool
	cmd := &cobra.Command{
		Use: "dependencies", Short: "Print which controller of which daemon reads what another one writes, as a graph in DOT", Args: cobra.NoArgs,
		Long: `Print which controller of which daemon reads what another one writes, as a graph in DOT.

An arrow leads from who writes a type of resource to who reads it. With resources the types are nodes of the graph, too.`,
		Example: "  dactylctl -n 10.5.0.2 inspect dependencies | dot -Tsvg >node.svg\n  dactylctl -n 10.5.0.2 inspect dependencies --with-resources | dot -Tpng >node.png",
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.ask(cmd, func(ctx context.Context, c *client.Client) error {
				answer, err := inspect.NewInspectServiceClient(c.Conn()).ControllerRuntimeDependencies(ctx, &emptypb.Empty{})
				if err != nil {
					return err
				}

				return client.Each(c, answer.GetMessages(), func(node string, m *inspect.ControllerRuntimeDependency) error {
					return printDependencies(a.out, node, m.GetEdges(), withResources)
				})
			})
		},
	}
	cmd.Flags().BoolVar(&withResources, "with-resources", false, "show the types of resources as nodes of their own")

	return cmd
}

func isOutput(e *inspect.ControllerDependencyEdge) bool {
	return e.GetEdgeType() == inspect.DependencyEdgeType_OUTPUT_EXCLUSIVE || e.GetEdgeType() == inspect.DependencyEdgeType_OUTPUT_SHARED
}

// printDependencies writes one graph in the language of Graphviz; the controllers of a daemon stand together.
func printDependencies(w io.Writer, node string, edges []*inspect.ControllerDependencyEdge, withResources bool) error {
	daemons := map[string][]string{}
	for _, e := range edges {
		daemon, _, _ := strings.Cut(e.GetControllerName(), ".")
		if !slices.Contains(daemons[daemon], e.GetControllerName()) {
			daemons[daemon] = append(daemons[daemon], e.GetControllerName())
		}
	}
	arrows := arrowsBetween(edges)
	if withResources {
		arrows = arrowsThrough(edges)
	}
	var b strings.Builder
	fmt.Fprintf(&b, "digraph %q {\n\trankdir=LR; node [shape=box];\n", node)
	for _, daemon := range slices.Sorted(maps.Keys(daemons)) {
		fmt.Fprintf(&b, "\tsubgraph %q { label=%q;", "cluster_"+daemon, daemon)
		for _, controller := range daemons[daemon] {
			fmt.Fprintf(&b, " %q;", controller)
		}
		b.WriteString(" }\n")
	}
	slices.Sort(arrows)
	for _, arrow := range slices.Compact(arrows) {
		fmt.Fprintf(&b, "\t%s;\n", arrow)
	}
	b.WriteString("}\n")
	_, err := io.WriteString(w, b.String())

	return err
}

// arrowsBetween lead from who writes a type to who reads it.
func arrowsBetween(edges []*inspect.ControllerDependencyEdge) []string {
	var arrows []string
	for _, out := range edges {
		if !isOutput(out) {
			continue
		}
		for _, in := range edges {
			if !isOutput(in) && in.GetResourceType() == out.GetResourceType() {
				arrows = append(arrows, fmt.Sprintf("%q -> %q [label=%q]", out.GetControllerName(), in.GetControllerName(), shortType(in.GetResourceType())))
			}
		}
	}

	return arrows
}

// arrowsThrough have the types between them; one that is only looked up, or waited for until it is torn down, says so.
func arrowsThrough(edges []*inspect.ControllerDependencyEdge) []string {
	var arrows []string
	for _, e := range edges {
		from, to, style := e.GetResourceType(), e.GetControllerName(), ""
		switch e.GetEdgeType() {
		case inspect.DependencyEdgeType_OUTPUT_EXCLUSIVE:
			from, to, style = to, from, " [style=bold]"
		case inspect.DependencyEdgeType_OUTPUT_SHARED:
			from, to = to, from
		case inspect.DependencyEdgeType_INPUT_WEAK:
			style = " [style=dashed]"
		case inspect.DependencyEdgeType_INPUT_DESTROY_READY:
			style = " [style=dotted]"
		case inspect.DependencyEdgeType_INPUT_STRONG:
		}
		arrows = append(arrows, fmt.Sprintf("%q [shape=ellipse]", e.GetResourceType()), fmt.Sprintf("%q -> %q%s", from, to, style))
	}

	return arrows
}
