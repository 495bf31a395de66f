package main

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/emptypb"

	"github.com/dactyl-os/dactyl/proto/common"
	"github.com/dactyl-os/dactyl/proto/machine"
	"github.com/dactyl-os/dactyl/tools/internal/client"
	"github.com/dactyl-os/dactyl/tools/internal/progress"
	"github.com/dactyl-os/dactyl/tools/internal/screen"
)

// tabled runs a call to all nodes and prints one table of the answers.
func tabled[M client.Answer](a *app, cmd *cobra.Command, header []string, call func(context.Context, *client.Client) ([]M, error), rows func(*table, string, M)) error {
	return a.ask(cmd, func(ctx context.Context, c *client.Client) error {
		messages, err := call(ctx, c)
		if err != nil {
			return err
		}
		t := newTable(a.out, header...)
		err = client.Each(c, messages, func(node string, m M) error {
			rows(t, node, m)

			return nil
		})
		if e := t.flush(); e != nil {
			return e
		}

		return err
	})
}

func (a *app) memoryCommand() *cobra.Command {
	var verbose bool
	cmd := &cobra.Command{
		Use:     "memory",
		Aliases: []string{"m", "free"},
		Short:   "Show the memory of nodes",
		Args:    cobra.NoArgs,
		Example: "  dactylctl -n 10.5.0.2,10.5.0.3 memory",
		RunE: func(cmd *cobra.Command, _ []string) error {
			call := func(ctx context.Context, c *client.Client) ([]*machine.Memory, error) {
				answer, err := c.Machine.Memory(ctx, &emptypb.Empty{})

				return answer.GetMessages(), err
			}
			if verbose {
				return tabled(a, cmd, nil, call, func(t *table, node string, m *machine.Memory) { verboseMemory(t, node, m.GetMeminfo()) })
			}

			return tabled(a, cmd, []string{"NODE", "TOTAL", "USED", "FREE", "SHARED", "BUFFERS", "CACHE", "AVAILABLE"}, call, memoryRow)
		},
	}
	cmd.Flags().BoolVarP(&verbose, "verbose", "v", false, "print every counter of /proc/meminfo")

	return cmd
}

// memoryRow prints megabytes, of counters that are in kilobytes.
func memoryRow(t *table, node string, m *machine.Memory) {
	i := m.GetMeminfo()
	cache := i.GetCached() + i.GetSreclaimable()
	used := i.GetMemtotal() - min(i.GetMemtotal(), i.GetMemfree()+i.GetBuffers()+cache)
	t.row(node, i.GetMemtotal()/1024, used/1024, i.GetMemfree()/1024, i.GetShmem()/1024, i.GetBuffers()/1024, cache/1024, i.GetMemavailable()/1024)
}

func verboseMemory(t *table, node string, info *machine.MemInfo) {
	t.row("NODE", node)
	m := info.ProtoReflect()
	for i := range m.Descriptor().Fields().Len() {
		f := m.Descriptor().Fields().Get(i)
		unit := " kB"
		if strings.HasPrefix(string(f.Name()), "hugepages") && f.Name() != protoreflect.Name("hugepagesize") {
			unit = ""
		}
		t.row(string(f.Name())+":", fmt.Sprint(m.Get(f).Uint(), unit))
	}
}

func (a *app) mountsCommand() *cobra.Command {
	return &cobra.Command{
		Use:     "mounts",
		Aliases: []string{"mount"},
		Short:   "Show what is mounted on nodes",
		Args:    cobra.NoArgs,
		Example: "  dactylctl -n 10.5.0.2 mounts",
		RunE: func(cmd *cobra.Command, _ []string) error {
			return tabled(a, cmd, []string{"NODE", "FILESYSTEM", "SIZE(GB)", "USED(GB)", "AVAILABLE(GB)", "PERCENT USED", "MOUNTED ON"},
				func(ctx context.Context, c *client.Client) ([]*machine.Mounts, error) {
					answer, err := c.Machine.Mounts(ctx, &emptypb.Empty{})

					return answer.GetMessages(), err
				}, mountRows)
		},
	}
}

func mountRows(t *table, node string, m *machine.Mounts) {
	const gb = 1e9
	for _, s := range m.GetStats() {
		used := s.GetSize() - min(s.GetSize(), s.GetAvailable())
		percent := 0.0
		if s.GetSize() > 0 {
			percent = 100 * float64(used) / float64(s.GetSize())
		}
		t.row(node, s.GetFilesystem(), fmt.Sprintf("%.02f", float64(s.GetSize())/gb), fmt.Sprintf("%.02f", float64(used)/gb),
			fmt.Sprintf("%.02f", float64(s.GetAvailable())/gb), fmt.Sprintf("%.02f%%", percent), s.GetMountedOn())
	}
}

func (a *app) statsCommand() *cobra.Command {
	var kubernetes bool
	cmd := &cobra.Command{
		Use:     "stats",
		Short:   "Show memory and processor time of services and containers",
		Args:    cobra.NoArgs,
		Example: "  dactylctl -n 10.5.0.2 stats",
		RunE: func(cmd *cobra.Command, _ []string) error {
			req := &machine.StatsRequest{Namespace: "system"}
			if kubernetes {
				req = &machine.StatsRequest{Namespace: "k8s.io", Driver: common.ContainerDriver_CRI}
			}

			return tabled(a, cmd, []string{"NODE", "NAMESPACE", "ID", "MEMORY(MB)", "CPU"},
				func(ctx context.Context, c *client.Client) ([]*machine.Stats, error) {
					answer, err := c.Machine.Stats(ctx, req)

					return answer.GetMessages(), err
				}, statRows)
		},
	}
	cmd.Flags().BoolVarP(&kubernetes, "kubernetes", "k", false, "show the containers of Kubernetes")

	return cmd
}

func statRows(t *table, node string, m *machine.Stats) {
	stats := slices.Clone(m.GetStats())
	slices.SortFunc(stats, func(x, y *machine.Stat) int {
		return cmp.Or(cmp.Compare(x.GetPodId(), y.GetPodId()), cmp.Compare(x.GetId(), y.GetId()))
	})
	for _, s := range stats {
		t.row(node, s.GetNamespace(), underPod(s.GetPodId(), s.GetId(), s.GetName()), fmt.Sprintf("%.2f", float64(s.GetMemoryUsage())/1e6), s.GetCpuUsage())
	}
}

func (a *app) processesCommand() *cobra.Command {
	var (
		by    string
		watch bool
	)
	cmd := &cobra.Command{
		Use:     "processes",
		Aliases: []string{"p", "ps"},
		Short:   "Show the processes of nodes",
		Args:    cobra.NoArgs,
		Example: "  dactylctl -n 10.5.0.2 processes --sort cpu\n  dactylctl -n 10.5.0.2 processes -w",
		RunE: func(cmd *cobra.Command, _ []string) error {
			if by != "rss" && by != "cpu" {
				return fmt.Errorf("unknown order %q: it is rss or cpu", by)
			}
			if !watch {
				return a.processes(cmd, a.out, by)
			}

			return a.watchProcesses(cmd, by)
		},
	}
	cmd.Flags().StringVarP(&by, "sort", "s", "rss", "order: rss or cpu")
	cmd.Flags().BoolVarP(&watch, "watch", "w", false, "repeat every second")

	return cmd
}

func (a *app) watchProcesses(cmd *cobra.Command, by string) error {
	for {
		var text strings.Builder
		err := a.processes(cmd, &text, by)
		if cmd.Context().Err() != nil {
			return nil
		}
		if progress.IsTerminal(a.out) {
			fmt.Fprint(screen.Raw(a.out), "\x1b[H\x1b[2J")
		}
		fmt.Fprint(a.out, text.String())
		if err != nil {
			return err
		}
		select {
		case <-cmd.Context().Done():
			return nil
		case <-time.After(time.Second):
		}
	}
}

func (a *app) processes(cmd *cobra.Command, out io.Writer, by string) error {
	b := &app{in: a.in, out: out, err: a.err, options: a.options}

	return tabled(b, cmd, []string{"NODE", "PID", "STATE", "THREADS", "CPU-TIME", "VIRTMEM", "RESMEM", "LABEL", "COMMAND"},
		func(ctx context.Context, c *client.Client) ([]*machine.Process, error) {
			answer, err := c.Machine.Processes(ctx, &emptypb.Empty{})

			return answer.GetMessages(), err
		}, func(t *table, node string, m *machine.Process) { processRows(t, node, m, by) })
}

func processRows(t *table, node string, m *machine.Process, by string) {
	list := slices.Clone(m.GetProcesses())
	slices.SortStableFunc(list, func(x, y *machine.ProcessInfo) int {
		if by == "cpu" {
			return cmp.Compare(y.GetCpuTime(), x.GetCpuTime())
		}

		return cmp.Compare(y.GetResidentMemory(), x.GetResidentMemory())
	})
	for _, p := range list {
		command := p.GetArgs()
		switch {
		case p.GetExecutable() == "" && command == "":
			command = p.GetCommand()
		case p.GetArgs() == "":
			command = p.GetExecutable()
		}
		t.row(node, p.GetPid(), p.GetState(), p.GetThreads(), fmt.Sprintf("%.2f", p.GetCpuTime()),
			humanBytes(p.GetVirtualMemory()), humanBytes(p.GetResidentMemory()), p.GetLabel(), oneLine(command))
	}
}
