package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"runtime"
	"strings"

	"github.com/spf13/cobra"
	"google.golang.org/protobuf/types/known/emptypb"

	"github.com/dactyl-os/dactyl/proto/machine"
	"github.com/dactyl-os/dactyl/proto/resource/v1alpha1"
	"github.com/dactyl-os/dactyl/services/kit/version"
	"github.com/dactyl-os/dactyl/tools/internal/client"
)

func (a *app) versionCommand() *cobra.Command {
	var clientOnly, short, daemons bool
	cmd := &cobra.Command{
		Use:     "version",
		Short:   "Print the version of the client and of the nodes",
		Args:    cobra.NoArgs,
		Example: "  dactylctl -n 10.5.0.2 version\n  dactylctl version --client --short\n  dactylctl -n 10.5.0.2 version --daemons",
		RunE: func(cmd *cobra.Command, _ []string) error {
			if daemons {
				return a.connect(cmd, a.daemonVersions)
			}
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
	cmd.Flags().BoolVar(&daemons, "daemons", false, "print the version of each daemon; one that was swapped differs from its node's")
	cmd.MarkFlagsMutuallyExclusive("client", "daemons")
	cmd.MarkFlagsMutuallyExclusive("short", "daemons")
	a.insecureFlags(cmd)

	return cmd
}

// daemonVersions prints what each daemon said of itself when it began to serve.
func (a *app) daemonVersions(ctx context.Context, c *client.Client) error {
	t := newTable(a.out, "NODE", "DAEMON", "TAG", "SHA")
	failed := everyNode(ctx, c, func(ctx context.Context, node string) error {
		services, err := fetch(ctx, c, v1alpha1.NewService(v1alpha1.NamespaceName, "").Metadata().Copy())
		if err != nil {
			return err
		}
		for _, s := range services {
			if version, ok := s.Metadata().Annotations().Get(v1alpha1.AnnotationVersion); ok {
				tag, sha, _ := strings.Cut(version, " ")
				t.row(node, s.Metadata().ID(), tag, sha)
			}
		}

		return nil
	})

	return errors.Join(t.flush(), failed)
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
