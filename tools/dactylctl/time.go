package main

import (
	"context"
	"time"

	"github.com/spf13/cobra"
	"google.golang.org/protobuf/types/known/emptypb"

	timeapi "github.com/dactyl-os/dactyl/proto/time"
	"github.com/dactyl-os/dactyl/tools/internal/client"
)

func (a *app) timeCommand() *cobra.Command {
	var server string
	cmd := &cobra.Command{
		Use:     "time [--check server]",
		Short:   "Compare the clocks of nodes with a time server",
		Args:    cobra.NoArgs,
		Example: "  dactylctl -n 10.5.0.2 time\n  dactylctl -n 10.5.0.2 time --check pool.ntp.org",
		RunE: func(cmd *cobra.Command, _ []string) error {
			return tabled(a, cmd, []string{"NODE", "NTP-SERVER", "NODE-TIME", "NTP-SERVER-TIME"},
				func(ctx context.Context, c *client.Client) ([]*timeapi.Time, error) {
					var (
						answer *timeapi.TimeResponse
						err    error
					)
					if server == "" {
						answer, err = c.Time.Time(ctx, &emptypb.Empty{})
					} else {
						answer, err = c.Time.TimeCheck(ctx, &timeapi.TimeRequest{Server: server})
					}

					return answer.GetMessages(), err
				},
				func(t *table, node string, m *timeapi.Time) {
					remote := ""
					if m.GetRemotetime() != nil {
						remote = m.GetRemotetime().AsTime().Format(time.RFC3339Nano)
					}
					t.row(node, m.GetServer(), m.GetLocaltime().AsTime().Format(time.RFC3339Nano), remote)
				})
		},
	}
	cmd.Flags().StringVarP(&server, "check", "c", "", "time server to compare with, instead of the node's")

	return cmd
}
