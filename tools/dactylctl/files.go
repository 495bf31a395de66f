package main

import (
	"context"
	"fmt"
	"io/fs"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/dactyl-os/dactyl/proto/machine"
	"github.com/dactyl-os/dactyl/tools/internal/client"
)

func (a *app) listCommand() *cobra.Command {
	var (
		depth                   int32
		humanize, long, recurse bool
		types                   []string
	)
	cmd := &cobra.Command{
		Use:     "list [path]",
		Aliases: []string{"ls"},
		Short:   "List files of a node",
		Args:    cobra.MaximumNArgs(1),
		Example: "  dactylctl -n 10.5.0.2 list -l /etc\n  dactylctl -n 10.5.0.2 list -r -t f /var/log",
		RunE: func(cmd *cobra.Command, args []string) error {
			req := &machine.ListRequest{Root: "/", Recurse: recurse || depth > 1, RecursionDepth: depth}
			if recurse {
				req.RecursionDepth = -1
			}
			if len(args) == 1 {
				req.Root = args[0]
			}
			for _, t := range types {
				kind, ok := map[string]machine.ListRequest_Type{
					"f": machine.ListRequest_REGULAR, "d": machine.ListRequest_DIRECTORY,
					"l": machine.ListRequest_SYMLINK, "L": machine.ListRequest_SYMLINK,
				}[t]
				if !ok {
					return fmt.Errorf("unknown type %q: it is f (file), d (directory) or l (symbolic link)", t)
				}
				req.Types = append(req.Types, kind)
			}

			return a.connect(cmd, func(ctx context.Context, c *client.Client) error {
				t := newTable(a.out, listHeader(long)...)
				stream, err := c.Machine.List(c.ToNodes(ctx), req)
				if err == nil {
					err = client.Receive(c, stream, func(node string, m *machine.FileInfo) error { return fileRow(t, node, m, long, humanize, time.Now()) })
				}
				if e := t.flush(); e != nil {
					return e
				}

				return err
			})
		},
	}
	cmd.Flags().Int32VarP(&depth, "depth", "d", 1, "how many levels to go down")
	cmd.Flags().BoolVarP(&humanize, "humanize", "H", false, "print sizes in KB, MB and GB, and times as ages")
	cmd.Flags().BoolVarP(&long, "long", "l", false, "print mode, owner, size and time")
	cmd.Flags().BoolVarP(&recurse, "recurse", "r", false, "go down all the way")
	cmd.Flags().StringSliceVarP(&types, "type", "t", nil, "list only files (f), directories (d), symbolic links (l)")

	return cmd
}

func listHeader(long bool) []string {
	if long {
		return []string{"NODE", "MODE", "UID", "GID", "SIZE(B)", "LASTMOD", "NAME"}
	}

	return []string{"NODE", "NAME"}
}

func fileRow(t *table, node string, m *machine.FileInfo, long, humanize bool, now time.Time) error {
	if m.GetError() != "" {
		return &client.NodeError{Node: node, Err: fmt.Errorf("%s: %s", m.GetName(), m.GetError())}
	}
	name := m.GetRelativeName()
	if name == "" {
		name = m.GetName()
	}
	if !long {
		t.row(node, name)

		return nil
	}
	if m.GetLink() != "" {
		name += " -> " + m.GetLink()
	}
	size, modified := strconv.FormatInt(m.GetSize(), 10), time.Unix(m.GetModified(), 0)
	when := modified.Format("Jan _2 2006 15:04:05")
	if humanize {
		size = humanBytes(uint64(max(m.GetSize(), 0)))
		when = max(now.Sub(modified), 0).Round(time.Second).String() + " ago"
	}
	t.row(node, fs.FileMode(m.GetMode()).String(), m.GetUid(), m.GetGid(), size, when, name)

	return nil
}

func (a *app) usageCommand() *cobra.Command {
	var (
		all, humanize bool
		depth         int32
		threshold     int64
	)
	cmd := &cobra.Command{
		Use:     "usage [path1] [path2] ... [pathN]",
		Aliases: []string{"du"},
		Short:   "Show how much disk space files take",
		Example: "  dactylctl -n 10.5.0.2 usage -H -d 1 /var",
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				args = []string{"/"}
			}
			req := &machine.DiskUsageRequest{RecursionDepth: depth, All: all, Threshold: threshold, Paths: args}

			return a.connect(cmd, func(ctx context.Context, c *client.Client) error {
				t := newTable(a.out, "NODE", "SIZE", "NAME")
				stream, err := c.Machine.DiskUsage(c.ToNodes(ctx), req)
				if err == nil {
					err = client.Receive(c, stream, func(node string, m *machine.DiskUsageInfo) error { return usageRow(t, node, m, humanize) })
				}
				if e := t.flush(); e != nil {
					return e
				}

				return err
			})
		},
	}
	cmd.Flags().BoolVarP(&all, "all", "a", false, "count files, not only directories")
	cmd.Flags().Int32VarP(&depth, "depth", "d", 0, "how many levels to print")
	cmd.Flags().BoolVarP(&humanize, "humanize", "H", false, "print sizes in KB, MB and GB")
	cmd.Flags().Int64VarP(&threshold, "threshold", "t", 0, "leave out what is smaller than this many bytes, or larger if negative")

	return cmd
}

func usageRow(t *table, node string, m *machine.DiskUsageInfo, humanize bool) error {
	if m.GetError() != "" {
		return &client.NodeError{Node: node, Err: fmt.Errorf("%s: %s", m.GetName(), m.GetError())}
	}
	name := m.GetRelativeName()
	if name == "" {
		name = m.GetName()
	}
	size := strconv.FormatInt(m.GetSize(), 10)
	if humanize {
		size = humanBytes(uint64(max(m.GetSize(), 0)))
	}
	t.row(node, size, name)

	return nil
}

// humanBytes prints decimal units as etcd's tables do: "21 MB", "6.0 MB".
func humanBytes(n uint64) string {
	if n < 1000 {
		return fmt.Sprintf("%d B", n)
	}
	value, unit := float64(n), 0
	for value >= 999.5 && unit < 5 {
		value /= 1000
		unit++
	}
	name := []string{"B", "kB", "MB", "GB", "TB", "PB"}[unit]
	if value < 9.95 {
		return fmt.Sprintf("%.1f %s", value, name)
	}

	return fmt.Sprintf("%.0f %s", value, name)
}
