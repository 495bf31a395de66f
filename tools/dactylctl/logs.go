package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"
	"google.golang.org/protobuf/types/known/emptypb"

	"github.com/dactyl-os/dactyl/proto/common"
	"github.com/dactyl-os/dactyl/proto/machine"
	"github.com/dactyl-os/dactyl/tools/internal/client"
)

func (a *app) logsCommand() *cobra.Command {
	var (
		follow, kubernetes bool
		tail               int32
	)
	cmd := &cobra.Command{
		Use:     "logs [<service name>]",
		Short:   "Print the log of a service; without a name, list the logs there are",
		Args:    cobra.MaximumNArgs(1),
		Example: "  dactylctl -n 10.5.0.2 logs\n  dactylctl -n 10.5.0.2 logs networkd --tail 20\n  dactylctl -n 10.5.0.2,10.5.0.3 logs etcd -f",
		ValidArgsFunction: func(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
			if len(args) > 0 {
				return nil, cobra.ShellCompDirectiveNoFileComp
			}

			return a.logNames(cmd.Context()), cobra.ShellCompDirectiveNoFileComp
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return a.ask(cmd, a.listLogs)
			}
			req := &machine.LogsRequest{Namespace: "system", Id: args[0], Follow: follow, TailLines: tail}
			if kubernetes {
				req.Namespace, req.Driver = "k8s.io", common.ContainerDriver_CRI
			}

			return a.connect(cmd, func(ctx context.Context, c *client.Client) error {
				return followNodes(ctx, c, a.out, follow, func(ctx context.Context, w *lineWriter) error { return streamLog(ctx, c, req, w) })
			})
		},
	}
	cmd.Flags().BoolVarP(&follow, "follow", "f", false, "go on and print new lines")
	cmd.Flags().BoolVarP(&kubernetes, "kubernetes", "k", false, "the log of a Kubernetes container")
	cmd.Flags().Int32Var(&tail, "tail", -1, "lines to print from the end (default is all)")

	return cmd
}

func (a *app) listLogs(ctx context.Context, c *client.Client) error {
	answer, err := c.Machine.LogsContainers(ctx, &emptypb.Empty{})
	if err != nil {
		return err
	}
	t := newTable(a.out, "NODE", "LOG")
	err = client.Each(c, answer.GetMessages(), func(node string, m *machine.LogsContainer) error {
		for _, id := range m.GetIds() {
			t.row(node, id)
		}

		return nil
	})

	return errors.Join(t.flush(), err)
}

// followNodes runs a stream for every node, at once when it is one without
// end; with several nodes each line says where it is from.
func followNodes(ctx context.Context, c *client.Client, out io.Writer, endless bool, stream func(context.Context, *lineWriter) error) error {
	var (
		mu     sync.Mutex
		wg     sync.WaitGroup
		failed = make([]error, len(c.Targets()))
	)
	for i, node := range c.Targets() {
		w := &lineWriter{out: out, mu: &mu, node: node}
		if len(c.Targets()) > 1 {
			w.prefix = node + ": "
		}
		wg.Go(func() {
			err := errors.Join(stream(c.ToNode(ctx, node), w), w.end())
			if err != nil {
				err = atNode(node, err)
			}
			failed[i] = err
		})
		if !endless {
			wg.Wait()
		}
	}
	wg.Wait()
	if ctx.Err() != nil {
		return nil // interrupted on purpose
	}

	return errors.Join(failed...)
}

// resumeTail is how far back a resumed log looks for the last line printed.
const resumeTail = 1000

// streamLog prints a log; one that is followed goes on behind the last line
// printed when the gateway or the log's keeper went away.
func streamLog(ctx context.Context, c *client.Client, req *machine.LogsRequest, w *lineWriter) error {
	first := true
	once := func() (bool, error) {
		r := req
		if !first {
			r = &machine.LogsRequest{Namespace: req.GetNamespace(), Id: req.GetId(), Driver: req.GetDriver(), Follow: true, TailLines: resumeTail}
			w.resume()
		}
		first = false
		stream, err := c.Machine.Logs(ctx, r)
		if err != nil {
			return false, err
		}
		received := false
		err = client.Receive(c, stream, func(_ string, m *common.Data) error {
			received = true
			_, err := w.Write(m.GetBytes())

			return err
		})

		return received, err
	}
	if !req.GetFollow() {
		_, err := once()

		return err
	}

	return client.Again(ctx, once)
}

// resumePatience is how long a resumed log may take to come to the last line
// printed; after that the line is taken for lost.
const resumePatience = time.Second

// lineWriter writes whole lines, and after resume only those that follow the
// last one written.
type lineWriter struct {
	out    io.Writer
	mu     *sync.Mutex
	node   string
	prefix string
	part   string
	last   string
	// While skipping, lines are held back until the last one written comes by.
	skipping bool
	since    time.Time
	held     []string
}

func (w *lineWriter) Write(data []byte) (int, error) {
	w.part += string(data)
	for {
		line, rest, found := strings.Cut(w.part, "\n")
		if !found {
			break
		}
		w.part = rest
		if err := w.line(line); err != nil {
			return 0, err
		}
	}
	if w.skipping && (len(w.held) >= resumeTail || time.Since(w.since) > resumePatience) {
		return len(data), w.release()
	}

	return len(data), nil
}

func (w *lineWriter) line(line string) error {
	if w.skipping {
		if line == w.last {
			w.skipping, w.held = false, nil
		} else {
			w.held = append(w.held, line)
		}

		return nil
	}
	w.last = line
	w.mu.Lock()
	defer w.mu.Unlock()
	_, err := fmt.Fprintln(w.out, w.prefix+line)

	return err
}

// resume begins to look for the last line written.
func (w *lineWriter) resume() {
	w.part, w.held, w.since = "", nil, time.Now()
	w.skipping = w.last != ""
}

// release writes what was held back: the last line is not in the log any more.
func (w *lineWriter) release() error {
	held := w.held
	w.skipping, w.held = false, nil
	for _, l := range held {
		if err := w.line(l); err != nil {
			return err
		}
	}

	return nil
}

// end writes a last line that has no newline.
func (w *lineWriter) end() error {
	if err := w.release(); err != nil || w.part == "" {
		return err
	}
	part := w.part
	w.part = ""

	return w.line(part)
}
