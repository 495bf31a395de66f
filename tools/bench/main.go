// Command bench measures speed and size on a sandbox cluster of its own and prints one table. Every figure of the
// gateway stands beside the same call made straight to the daemon's socket in the same run: compare the ratios.
// With -vm it measures virtual machines instead: how long they boot and what they hold.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"text/tabwriter"
	"time"

	"github.com/dactyl-os/dactyl/services/kit/kittest/door"
	"github.com/dactyl-os/dactyl/tools/internal/outside"
)

const (
	repeats = 5
)

// Addresses that the provisioner gives; entry is the gateway that all calls go through.
const (
	alone  = "10.76.0.2"
	entry  = "10.78.0.2"
	other  = "10.78.0.3"
	third  = "10.78.0.4"
	worker = "10.78.0.5"
)

// doorArgument has this program connect to sockets inside a node for the one that measures.
const doorArgument = "door"

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:], os.Stdout)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// section measures one thing and adds its rows.
type section struct {
	name    string
	measure func(context.Context, *table) error
}

func run(ctx context.Context, args []string, stdout io.Writer) (err error) {
	if len(args) == 1 && args[0] == doorArgument {
		return door.Serve()
	}
	flags := flag.NewFlagSet("bench", flag.ContinueOnError)
	only := flags.String("only", "", "run only these sections: memory, calls, read, resources, apply, restart, start, size")
	settle := flags.Duration("settle", time.Minute, "time between the start of the cluster and the reading of its memory")
	vms := flags.Bool("vm", false, "measure virtual machines, started with QEMU")
	runs := flags.Int("runs", 3, "with -vm: how many machines the medians are of")
	if err := flags.Parse(args); err != nil {
		return err
	}
	removeHome, err := outside.OwnHome(ctx)
	if err != nil {
		return err
	}
	defer removeHome()
	t := &table{}
	if *vms {
		return errors.Join(virtual(ctx, t, max(*runs, 1), *settle), t.print(stdout))
	}
	measure := func(ctx context.Context, sections ...section) error {
		for _, s := range sections {
			if *only != "" && !strings.Contains(*only, s.name) {
				continue
			}
			fmt.Fprintln(os.Stderr, "bench:", s.name)
			if err := s.measure(ctx, t); err != nil {
				return fmt.Errorf("%s: %w", s.name, err)
			}
		}

		return nil
	}
	// Nodes on one machine share the text of their programs, so memory is read from a node that is alone.
	err = withCluster(ctx, "bench-alone", "10.76.0.0/24", 1, 0, func(ctx context.Context) error {
		return measure(ctx, section{"memory", func(ctx context.Context, t *table) error { return memory(ctx, t, *settle) }})
	})
	if err == nil {
		err = withCluster(ctx, "bench", "10.78.0.0/24", 3, 1, func(ctx context.Context) error {
			return measure(ctx, section{"calls", calls}, section{"read", reading}, section{"resources", resources}, section{"apply", applyAddresses},
				section{"restart", restarts}, section{"start", starts}, section{"size", sizes})
		})
	}

	return errors.Join(err, t.print(stdout))
}

// withCluster makes a cluster for the time of measuring.
func withCluster(ctx context.Context, name, cidr string, controlPlanes, workers int, measure func(context.Context) error, more ...string) (err error) {
	defer func() {
		if r := outside.Dactylctl(context.WithoutCancel(ctx), "cluster", "destroy", "--name", name, "--force"); r.Err != nil {
			err = errors.Join(err, fmt.Errorf("destroy the cluster: %s", r))
		}
	}()
	fmt.Fprintf(os.Stderr, "bench: starting %d nodes\n", controlPlanes+workers)
	r := outside.Dactylctl(ctx, append([]string{"cluster", "create", "--name", name, "--cidr", cidr,
		"--controlplanes", fmt.Sprint(controlPlanes), "--workers", fmt.Sprint(workers)}, more...)...)
	if r.Err != nil {
		return fmt.Errorf("%s", r)
	}

	return measure(ctx)
}

// table is what, figure, target.
type table struct{ rows [][3]string }

func (t *table) add(what, figure, target string) {
	t.rows = append(t.rows, [3]string{what, figure, target})
}

func (t *table) print(w io.Writer) error {
	columns := tabwriter.NewWriter(w, 0, 0, 1, ' ', tabwriter.Debug)
	fmt.Fprintln(columns, "| what\t figure\t target\t")
	fmt.Fprintln(columns, "| ---\t ---\t ---\t")
	for _, row := range t.rows {
		fmt.Fprintf(columns, "| %s\t %s\t %s\t\n", row[0], row[1], row[2])
	}

	return columns.Flush()
}
