package main

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"google.golang.org/grpc/metadata"

	"github.com/dactyl-os/dactyl/proto/machine"
	"github.com/dactyl-os/dactyl/tools/internal/client"
)

// wipeModes are what --wipe-mode takes.
func wipeModes() []string { return []string{"all", "system-disk", "user-disks"} }

// resetFlags are what a reset wipes, and how the node goes down.
type resetFlags struct {
	mode              string
	labels, userDisks []string
	graceful, reboot  bool
}

func (a *app) resetCommand() *cobra.Command {
	var (
		f    resetFlags
		wait waitFlags
	)
	cmd := &cobra.Command{
		Use: "reset", Short: "Wipe nodes", Args: cobra.NoArgs,
		Long: `Wipe nodes.

Without labels the whole system disk is wiped: the node starts in maintenance mode and waits for a machine configuration.
With labels only those partitions are: without EPHEMERAL a node keeps its configuration and identity, and loses what it
stored. The node goes down in any case, and stays off without --reboot.`,
		Example: `  dactylctl -n 10.5.0.5 reset --reboot
  dactylctl -n 10.5.0.5 reset --system-labels-to-wipe=EPHEMERAL --reboot
  dactylctl -n 10.5.0.2 reset --graceful=false --reboot
  dactylctl -n 10.5.0.5 reset --wipe-mode=user-disks --user-disks-to-wipe=/dev/vdb --reboot
  dactylctl -n 10.5.0.5 reset --insecure`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			req, err := f.request()
			if err != nil {
				return err
			}
			done := goneAfter
			if f.reboot {
				done = a.backOrEmptyAfter
			}

			return a.takeAway(cmd, wait, action{
				doing: "resetting",
				ask: func(ctx context.Context, c *client.Client) error {
					answer, err := c.Machine.Reset(ctx, req)

					return finish(c, answer.GetMessages(), err)
				},
				done: done,
			})
		},
	}
	wait.add(cmd, "the nodes are back, or off without --reboot")
	a.insecureFlag(cmd)
	flags := cmd.Flags()
	flags.BoolVar(&f.graceful, "graceful", true, "leave etcd first; the reset is refused where that is not possible")
	flags.BoolVar(&f.reboot, "reboot", false, "start the nodes again instead of switching them off")
	flags.StringSliceVar(&f.labels, "system-labels-to-wipe", nil, "wipe only these partitions of the system disk (default: the whole disk)")
	flags.StringSliceVar(&f.userDisks, "user-disks-to-wipe", nil, "wipe these other disks, too")
	flags.StringVar(&f.mode, "wipe-mode", "all", "what to wipe: "+oneOf(wipeModes()))
	a.complete(cmd, "wipe-mode", func(string) []string { return wipeModes() })
	a.complete(cmd, "system-labels-to-wipe", func(string) []string { return a.systemLabels(cmd.Context()) })
	a.complete(cmd, "user-disks-to-wipe", func(string) []string { return a.userDisks(cmd.Context()) })

	return cmd
}

func (f *resetFlags) request() (*machine.ResetRequest, error) {
	mode, known := machine.ResetRequest_WipeMode_value[strings.ToUpper(strings.ReplaceAll(f.mode, "-", "_"))]
	if !known {
		return nil, fmt.Errorf("unknown wipe mode %q: it is %s", f.mode, oneOf(wipeModes()))
	}
	req := &machine.ResetRequest{
		Graceful: f.graceful, Reboot: f.reboot, Mode: machine.ResetRequest_WipeMode(mode), UserDisksToWipe: f.userDisks,
	}
	switch {
	case req.Mode == machine.ResetRequest_USER_DISKS && len(f.labels) > 0:
		return nil, fmt.Errorf("--wipe-mode=user-disks leaves the system disk alone, and --system-labels-to-wipe=%s is on it", strings.Join(f.labels, ","))
	case req.Mode == machine.ResetRequest_SYSTEM_DISK && len(f.userDisks) > 0:
		return nil, fmt.Errorf("--wipe-mode=system-disk leaves other disks alone, and --user-disks-to-wipe names %s", strings.Join(f.userDisks, ", "))
	case req.Mode == machine.ResetRequest_USER_DISKS && len(f.userDisks) == 0:
		return nil, fmt.Errorf("which disks? Name them with --user-disks-to-wipe (dactylctl disks lists them)")
	}
	for _, label := range f.labels {
		req.SystemPartitionsToWipe = append(req.SystemPartitionsToWipe, &machine.ResetPartitionSpec{Label: label, Wipe: true})
	}

	return req, nil
}

// backOrEmptyAfter is backAfter for a node that may have lost its certificates: it then answers strangers.
func (a *app) backOrEmptyAfter(ctx context.Context, c *client.Client, node, before string) (string, bool) {
	doing, done := backAfter(ctx, c, node, before)
	if doing != away || a.options.Insecure {
		return doing, done
	}
	stranger, err := client.Open(client.Options{Nodes: []string{node}, Insecure: true})
	if err != nil {
		return doing, false
	}
	defer stranger.Close()
	// It forwards nothing, not even to itself.
	if stage, _ := machineStage(metadata.NewOutgoingContext(ctx, nil), stranger); stage != "maintenance" {
		return doing, false
	}

	return inMaintenance, true
}

// systemLabels are the labels of the partitions that diskd keeps on the system disk.
func (a *app) systemLabels(ctx context.Context) []string {
	names := a.resourceNames(ctx, "volumestatus")

	return slices.DeleteFunc(names, func(name string) bool { return strings.Contains(name, "/") })
}

func (a *app) userDisks(ctx context.Context) []string {
	var names []string
	a.peek(ctx, func(ctx context.Context, c *client.Client) {
		answer, err := listDisks(ctx, c)
		if err != nil {
			return
		}
		for _, m := range answer {
			for _, d := range m.GetDisks() {
				if !d.GetSystemDisk() && !d.GetReadonly() {
					names = append(names, d.GetDeviceName())
				}
			}
		}
	})

	return names
}
