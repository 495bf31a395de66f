package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/cosi-project/runtime/pkg/resource"
	"github.com/cosi-project/runtime/pkg/resource/protobuf"
	"github.com/spf13/cobra"

	configres "github.com/dactyl-os/dactyl/proto/resource/config"
	"github.com/dactyl-os/dactyl/tools/internal/client"
)

// machineConfigType is the only type that can be changed from outside.
const (
	machineConfigType = "MachineConfigs.config.talos.dev"
	activeConfigID    = "v1alpha1"
)

func (a *app) patchCommand() *cobra.Command {
	var (
		f               applyFlags
		namespace, file string
		patches         []string
	)
	cmd := &cobra.Command{
		Use:               "patch <type> [<id>]",
		Short:             "Change the machine configuration of nodes by patches",
		Args:              cobra.RangeArgs(1, 2),
		ValidArgsFunction: completeMachineConfig,
		Example: `  dactylctl -n 10.5.0.2 patch mc -p '{"machine": {"network": {"hostname": "first"}}}'
  dactylctl -n 10.5.0.2,10.5.0.3 patch mc -p @watchdog.yaml --dry-run`,
		RunE: func(cmd *cobra.Command, args []string) error {
			if file != "" {
				patches = append(patches, "@"+file)
			}
			if len(patches) == 0 {
				return errors.New("which patch? Give one with -p or --patch-file")
			}

			return a.changeConfig(cmd, args, namespace, f, func(_ string, data []byte) ([]byte, error) { return patched(data, patches) })
		},
	}
	f.add(a, cmd)
	cmd.Flags().StringVar(&namespace, "namespace", "", "namespace of the resource (default is the one of the type)")
	cmd.Flags().StringVar(&file, "patch-file", "", "a file with a patch")
	cmd.Flags().StringArrayVarP(&patches, "patch", "p", nil, "a patch, or @FILE (may be given many times)")

	return cmd
}

func completeMachineConfig(_ *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	return map[int][]string{0: {"machineconfig", "mc"}, 1: {activeConfigID}}[len(args)], cobra.ShellCompDirectiveNoFileComp
}

// changeConfig fetches the configuration of each node, changes it and sends it back.
func (a *app) changeConfig(cmd *cobra.Command, args []string, namespace string, f applyFlags, change func(node string, data []byte) ([]byte, error)) error {
	return a.connect(cmd, func(ctx context.Context, c *client.Client) error {
		d, err := firstDefinition(ctx, c, args[0])
		if err != nil {
			return err
		}
		if d.Type != machineConfigType {
			return fmt.Errorf("%s cannot be changed: only the machine configuration can, the rest follows from it", d.Type)
		}
		if namespace == "" {
			namespace = d.DefaultNamespace
		}
		id := activeConfigID
		if len(args) == 2 {
			id = args[1]
		}

		return everyNode(ctx, c, func(ctx context.Context, node string) error {
			data, err := fetchConfig(ctx, c, namespace, id)
			if err != nil {
				return err
			}
			changed, err := change(node, data)
			if err != nil || changed == nil {
				return err
			}
			req, err := f.request(changed)
			if err != nil {
				return err
			}
			if err := a.apply(ctx, c, node, req); err != nil {
				return err
			}
			if !f.dryRun {
				fmt.Fprintf(a.err, "patched %s/%s at the node %s\n", d.Type, id, node)
			}

			return nil
		})
	})
}

func fetchConfig(ctx context.Context, c *client.Client, namespace, id string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	items, err := fetch(ctx, c, resource.NewMetadata(namespace, machineConfigType, id, resource.VersionUndefined))
	if err != nil {
		return nil, err
	}

	return configText(items[0])
}

// configText reads all documents of a MachineConfig as they were written: its YAML form may be cut to the first.
func configText(r resource.Resource) ([]byte, error) {
	raw, ok := r.(*protobuf.Resource)
	if !ok {
		return nil, fmt.Errorf("%s: not a resource of the API", r.Metadata())
	}
	stored := configres.NewMachineConfig("", "")
	if err := raw.Unmarshal(stored); err != nil {
		return nil, fmt.Errorf("%s: %w", r.Metadata(), err)
	}

	return stored.TypedSpec().Data, nil
}
