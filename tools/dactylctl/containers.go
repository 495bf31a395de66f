package main

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/dactyl-os/dactyl/proto/common"
	"github.com/dactyl-os/dactyl/proto/machine"
	"github.com/dactyl-os/dactyl/tools/internal/client"
)

func (a *app) containersCommand() *cobra.Command {
	var kubernetes bool
	cmd := &cobra.Command{
		Use:     "containers",
		Aliases: []string{"c"},
		Short:   "Show what runs on nodes: services, or containers of Kubernetes",
		Args:    cobra.NoArgs,
		Example: "  dactylctl -n 10.5.0.2 containers",
		RunE: func(cmd *cobra.Command, _ []string) error {
			req := &machine.ContainersRequest{Namespace: "system"}
			if kubernetes {
				req = &machine.ContainersRequest{Namespace: "k8s.io", Driver: common.ContainerDriver_CRI}
			}

			return tabled(a, cmd, []string{"NODE", "NAMESPACE", "ID", "IMAGE", "PID", "STATUS"},
				func(ctx context.Context, c *client.Client) ([]*machine.Container, error) {
					answer, err := c.Machine.Containers(ctx, req)

					return answer.GetMessages(), err
				}, containerRows)
		},
	}
	cmd.Flags().BoolVarP(&kubernetes, "kubernetes", "k", false, "show the containers of Kubernetes")

	return cmd
}

func containerRows(t *table, node string, m *machine.Container) {
	for _, c := range m.GetContainers() {
		t.row(node, c.GetNamespace(), underPod(c.GetPodId(), c.GetId(), c.GetName()), c.GetImage(), c.GetPid(), c.GetStatus())
	}
}

// underPod shows a container below the pod that it belongs to.
func underPod(pod, id, name string) string {
	if pod != "" && pod != id {
		return pod + "└─ " + name
	}

	return id
}
