package main

import (
	"context"
	"fmt"
	"io"
	"runtime"

	"github.com/spf13/cobra"
	"google.golang.org/protobuf/types/known/emptypb"

	"github.com/dactyl-os/dactyl/proto/machine"
	"github.com/dactyl-os/dactyl/services/kit/version"
	"github.com/dactyl-os/dactyl/tools/internal/client"
)

func (a *app) versionCommand() *cobra.Command {
	var clientOnly, short bool
	cmd := &cobra.Command{
		Use:     "version",
		Short:   "Print the version of the client and of the nodes",
		Args:    cobra.NoArgs,
		Example: "  dactylctl -n 10.5.0.2 version\n  dactylctl version --client --short",
		RunE: func(cmd *cobra.Command, _ []string) error {
			printClientVersion(a.out, short)
			if clientOnly {
				return nil
			}
			fmt.Fprintln(a.out, "Server:")
			return a.ask(cmd, func(ctx context.Context, c *client.Client) error {
				answer, err := c.Machine.Version(ctx, &emptypb.Empty{})
				if err != nil {
					return err
				}
				return client.Each(c, answer.GetMessages(), func(node string, m *machine.Version) error {
					printServerVersion(a.out, node, m, short)
					return nil
				})
			})
		},
	}
	cmd.Flags().BoolVar(&clientOnly, "client", false, "print the version of the client only")
	cmd.Flags().BoolVar(&short, "short", false, "print only the version numbers")
	a.insecureFlags(cmd)
	return cmd
}

func printClientVersion(w io.Writer, short bool) {
	if short {
		fmt.Fprintf(w, "Client:\n\t%s %s\n", version.Name, version.Tag)
		return
	}
	fmt.Fprintln(w, "Client:")
	printVersion(w, &machine.VersionInfo{
		Tag: version.Tag, Sha: version.SHA, Built: version.Built, GoVersion: runtime.Version(), Os: runtime.GOOS, Arch: runtime.GOARCH,
	})
}

func printServerVersion(w io.Writer, node string, m *machine.Version, short bool) {
	if short {
		fmt.Fprintf(w, "\t%s: %s\n", node, m.GetVersion().GetTag())
		return
	}
	fmt.Fprintf(w, "\tNODE:        %s\n", node)
	printVersion(w, m.GetVersion())
	if p := m.GetPlatform(); p != nil {
		fmt.Fprintf(w, "\tPlatform:    %s (%s)\n", p.GetName(), p.GetMode())
	}
	if m.GetFeatures().GetRbac() {
		fmt.Fprintf(w, "\tEnabled:     RBAC\n")
	}
}

func printVersion(w io.Writer, v *machine.VersionInfo) {
	for _, line := range [][2]string{
		{"Tag:", v.GetTag()}, {"SHA:", v.GetSha()}, {"Built:", v.GetBuilt()},
		{"Go version:", v.GetGoVersion()}, {"OS/Arch:", v.GetOs() + "/" + v.GetArch()},
	} {
		fmt.Fprintf(w, "\t%-12s %s\n", line[0], line[1])
	}
}
