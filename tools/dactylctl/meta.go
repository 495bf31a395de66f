package main

import (
	"context"
	"fmt"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/dactyl-os/dactyl/proto/machine"
	"github.com/dactyl-os/dactyl/tools/internal/client"
)

func (a *app) metaCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "meta",
		Short:   "Write and delete keys of the META partition (`get meta` lists them)",
		Example: "  dactylctl -n 10.5.0.2 meta write 0x0c rack-7\n  dactylctl -n 10.5.0.2 meta delete 0x0c",
	}
	write := &cobra.Command{
		Use:     "write key value",
		Short:   "Write a key",
		Args:    cobra.ExactArgs(2),
		Example: `  dactylctl -n 10.5.0.2 meta write 0x0a "$(cat network.yaml)"`,
		RunE: func(cmd *cobra.Command, args []string) error {
			key, err := metaKey(args[0])
			if err != nil {
				return err
			}

			return a.ask(cmd, func(ctx context.Context, c *client.Client) error {
				answer, err := c.Machine.MetaWrite(ctx, &machine.MetaWriteRequest{Key: key, Value: []byte(args[1])})
				if err != nil {
					return err
				}

				return client.Each(c, answer.GetMessages(), func(string, *machine.MetaWrite) error { return nil })
			})
		},
	}
	a.insecureFlags(write)
	remove := &cobra.Command{
		Use:     "delete key",
		Short:   "Delete a key",
		Args:    cobra.ExactArgs(1),
		Example: "  dactylctl -n 10.5.0.2 meta delete 0x0a",
		RunE: func(cmd *cobra.Command, args []string) error {
			key, err := metaKey(args[0])
			if err != nil {
				return err
			}

			return a.ask(cmd, func(ctx context.Context, c *client.Client) error {
				answer, err := c.Machine.MetaDelete(ctx, &machine.MetaDeleteRequest{Key: key})
				if err != nil {
					return err
				}

				return client.Each(c, answer.GetMessages(), func(string, *machine.MetaDelete) error { return nil })
			})
		},
	}
	a.insecureFlags(remove)
	cmd.AddCommand(write, remove)

	return cmd
}

func metaKey(text string) (uint32, error) {
	key, err := strconv.ParseUint(text, 0, 8)
	if err != nil || key == 0 {
		return 0, fmt.Errorf("%q is not a META key: keys are numbers from 0x01 to 0xff", text)
	}

	return uint32(key), nil
}
