package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/cosi-project/runtime/pkg/resource"
	"github.com/spf13/cobra"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/dactyl-os/dactyl/proto/machine"
	"github.com/dactyl-os/dactyl/tools/internal/client"
	"github.com/dactyl-os/dactyl/tools/internal/progress"
)

// waitFlags are those of commands that take a node away for a while.
type waitFlags struct {
	wait, debug bool
	timeout     time.Duration
}

func (f *waitFlags) add(cmd *cobra.Command, until string) {
	cmd.Flags().BoolVar(&f.wait, "wait", true, "wait until "+until)
	cmd.Flags().BoolVar(&f.debug, "debug", false, "print the kernel's log of a node that does not come back (with --wait)")
	cmd.Flags().DurationVar(&f.timeout, "timeout", 30*time.Minute, "how long to wait (with --wait)")
}

func (a *app) rebootCommand() *cobra.Command {
	var (
		f    waitFlags
		mode string
	)
	cmd := &cobra.Command{
		Use: "reboot", Short: "Restart nodes", Args: cobra.NoArgs,
		Example: "  dactylctl -n 10.5.0.5 reboot\n  dactylctl -n 10.5.0.2,10.5.0.3 reboot --wait=false",
		RunE: func(cmd *cobra.Command, _ []string) error {
			value, ok := machine.RebootRequest_Mode_value[strings.ToUpper(mode)]
			if !ok {
				return fmt.Errorf("unknown mode %q: it is default or powercycle", mode)
			}

			return a.takeAway(cmd, f, action{
				doing: "rebooting",
				ask: func(ctx context.Context, c *client.Client) error {
					answer, err := c.Machine.Reboot(ctx, &machine.RebootRequest{Mode: machine.RebootRequest_Mode(value)})

					return finish(c, answer.GetMessages(), err)
				},
				done: backAfter,
			})
		},
	}
	f.add(cmd, "the nodes are back")
	cmd.Flags().StringVarP(&mode, "mode", "m", "default", "default or powercycle (through the firmware, without kexec)")

	return cmd
}

func (a *app) shutdownCommand() *cobra.Command {
	var (
		f     waitFlags
		force bool
	)
	cmd := &cobra.Command{
		Use: "shutdown", Short: "Switch nodes off", Args: cobra.NoArgs, Example: "  dactylctl -n 10.5.0.5 shutdown",
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.takeAway(cmd, f, action{
				doing: "shutting down",
				ask: func(ctx context.Context, c *client.Client) error {
					answer, err := c.Machine.Shutdown(ctx, &machine.ShutdownRequest{Force: force})

					return finish(c, answer.GetMessages(), err)
				},
				done: goneAfter,
			})
		},
	}
	f.add(cmd, "the nodes are off")
	cmd.Flags().BoolVar(&force, "force", false, "do not move the node's work to others first")

	return cmd
}

// action is one way to take a node away.
type action struct {
	doing string
	ask   func(context.Context, *client.Client) error
	// done looks at a node once and says what it is doing now.
	done func(ctx context.Context, c *client.Client, node, bootID string) (doing string, done bool)
}

func (a *app) takeAway(cmd *cobra.Command, f waitFlags, act action) error {
	return a.connect(cmd, func(ctx context.Context, c *client.Client) error {
		ctx, cancel := context.WithTimeout(ctx, f.timeout)
		defer cancel()
		var (
			wg     sync.WaitGroup
			board  = progress.New(a.err)
			failed = make([]error, len(c.Targets()))
		)
		for i, node := range c.Targets() {
			wg.Go(func() {
				if err := a.takeAwayNode(c.ToNode(ctx, node), c, node, f, act, board); err != nil {
					failed[i] = atNode(node, err)
				}
			})
		}
		wg.Wait()

		return errors.Join(failed...)
	})
}

func (a *app) takeAwayNode(ctx context.Context, c *client.Client, node string, f waitFlags, act action, board *progress.Board) error {
	before := ""
	if f.wait {
		var err error
		if before, err = bootID(ctx, c); err != nil {
			return err
		}
	}
	steps := way{tell: func(doing string) { board.Set(node, doing) }}
	if f.wait {
		steps.follow(ctx, c)
	}
	// A connection that breaks here may be the node going away already.
	if err := act.ask(ctx, c); err != nil && (!f.wait || status.Code(err) != codes.Unavailable || stays(ctx, c, before)) {
		return err
	}
	board.Set(node, act.doing)
	if !f.wait {
		return nil
	}
	for {
		doing, done := act.done(ctx, c, node, before)
		if doing == goingDown {
			doing = steps.doing()
		}
		board.Set(node, doing)
		if done {
			return nil
		}
		select {
		case <-ctx.Done():
			if f.debug {
				a.kernelLog(ctx, c, node)
			}

			return fmt.Errorf("not done after %s: the node is %s", f.timeout, doing)
		case <-time.After(200 * time.Millisecond):
		}
	}
}

// kernelLog prints what the kernel of a node that did not get there says, if it still answers.
func (a *app) kernelLog(ctx context.Context, c *client.Client, node string) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), quickly)
	defer cancel()
	stream, err := c.Machine.Dmesg(ctx, &machine.DmesgRequest{})
	if err == nil {
		err = copyData(c, stream, a.err)
	}
	if err != nil {
		fmt.Fprintf(a.err, "%s: no kernel log: %s\n", node, status.Convert(err).Message())
	}
}

// look bounds one look at a node that is going away or coming back.
const look = 3 * time.Second

// bootID tells one start of the machine from another. Who may not read its files,
// as nobody may in maintenance mode, takes the birth of a resource that init makes at start.
func bootID(ctx context.Context, c *client.Client) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, look)
	defer cancel()
	stream, err := c.Machine.Read(ctx, &machine.ReadRequest{Path: "/proc/sys/kernel/random/boot_id"})
	if err != nil {
		return "", err
	}
	var id strings.Builder
	err = copyData(c, stream, &id)
	if code := status.Code(err); code != codes.PermissionDenied && code != codes.Unimplemented {
		return strings.TrimSpace(id.String()), err
	}
	items, err := fetch(ctx, c, machineStatus())
	if err != nil {
		return "", err
	}

	return items[0].Metadata().Created().String(), nil
}

func machineStatus() resource.Metadata {
	return resource.NewMetadata("runtime", "MachineStatuses.runtime.talos.dev", "machine", resource.VersionUndefined)
}

// What a node that was taken away is doing.
const (
	goingDown     = "going down"
	away          = "away"
	inMaintenance = "back, in maintenance mode"
)

func backAfter(ctx context.Context, c *client.Client, _, before string) (string, bool) {
	now, err := bootID(ctx, c)
	switch {
	case err != nil:
		return away, false
	case now == before:
		return goingDown, false
	}
	stage, ready := machineStage(ctx, c)
	switch {
	case ready && stage == "running":
		return "back and ready", true
	case stage == "maintenance":
		return inMaintenance, true
	case stage == "":
		return "starting", false
	}

	return stage, false
}

func goneAfter(ctx context.Context, c *client.Client, _, before string) (string, bool) {
	now, err := bootID(ctx, c)
	switch {
	case err == nil && now != before:
		return "back: it restarted instead of staying off", true
	case err == nil:
		return goingDown, false
	case status.Code(err) == codes.Unavailable || status.Code(err) == codes.DeadlineExceeded:
		return "off", true
	}

	return goingDown, false
}

// stays tells whether a node that was to go away answers as if nobody had asked it to.
func stays(ctx context.Context, c *client.Client, before string) bool {
	if now, err := bootID(ctx, c); err != nil || now != before {
		return false
	}
	stage, _ := machineStage(ctx, c)

	return slices.Contains([]string{"booting", "maintenance", "running"}, stage)
}

// machineStage reads the MachineStatus.
func machineStage(ctx context.Context, c *client.Client) (stage string, ready bool) {
	ctx, cancel := context.WithTimeout(ctx, look)
	defer cancel()
	items, err := fetch(ctx, c, machineStatus())
	if err != nil {
		return "", false
	}
	spec, err := decodedSpec(items[0])
	if err != nil {
		return "", false
	}
	m, _ := spec.(map[string]any)
	inner, _ := m["status"].(map[string]any)
	stage, _ = m["stage"].(string)
	ready, _ = inner["ready"].(bool)

	return stage, ready
}
