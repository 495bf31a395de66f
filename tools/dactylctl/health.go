package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/emptypb"

	"github.com/dactyl-os/dactyl/proto/cluster"
	"github.com/dactyl-os/dactyl/proto/machine"
	"github.com/dactyl-os/dactyl/tools/internal/client"
)

type healthFlags struct {
	topology
	k8sEndpoint string
	server, e2e bool
	timeout     time.Duration
}

func (a *app) healthCommand() *cobra.Command {
	var f healthFlags
	cmd := &cobra.Command{
		Use: "health", Short: "Wait until the cluster is healthy, saying what is missing", Args: cobra.NoArgs,
		Example: "  dactylctl -n 10.5.0.2 health\n  dactylctl -n 10.5.0.2 health --control-plane-nodes 10.5.0.2,10.5.0.3,10.5.0.4 --worker-nodes 10.5.0.5",
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.oneNode(cmd, func(ctx context.Context, c *client.Client, _ string) error {
				// The node is given its time; its last word says what is missing.
				ctx, cancel := context.WithTimeout(ctx, f.timeout+look)
				defer cancel()
				if f.server {
					err := a.serverHealth(ctx, c, f)
					if status.Code(err) != codes.Unimplemented {
						return err
					}
				}

				ctx, cancel = context.WithTimeout(ctx, f.timeout)
				defer cancel()

				return a.clientHealth(ctx, c, f)
			})
		},
	}
	flags := cmd.Flags()
	f.topology.add(cmd)
	flags.StringVar(&f.k8sEndpoint, "k8s-endpoint", "", "endpoint of Kubernetes to check instead of the configured one")
	flags.BoolVar(&f.e2e, "run-e2e", false, "run the tests of Kubernetes (not available)")
	flags.BoolVar(&f.server, "server", true, "let the node run the checks when it can")
	flags.DurationVar(&f.timeout, "wait-timeout", 20*time.Minute, "how long to wait")

	return cmd
}

func (a *app) serverHealth(ctx context.Context, c *client.Client, f healthFlags) error {
	stream, err := c.Cluster.HealthCheck(ctx, &cluster.HealthCheckRequest{
		WaitTimeout: durationpb.New(f.timeout),
		ClusterInfo: &cluster.ClusterInfo{ControlPlaneNodes: f.named(), WorkerNodes: f.workers, ForceEndpoint: f.k8sEndpoint},
	})
	if err != nil {
		return err
	}

	return client.Receive(c, stream, func(_ string, m *cluster.HealthCheckProgress) error {
		_, err := fmt.Fprintln(a.err, m.GetMessage())

		return err
	})
}

// check is one condition; it gives the reason why it is not met.
type check struct {
	name string
	run  func(context.Context) error
}

// clientHealth runs the checks from here, one after the other.
func (a *app) clientHealth(ctx context.Context, c *client.Client, f healthFlags) error {
	if err := f.complete(ctx, c); err != nil {
		return err
	}
	fmt.Fprintf(a.err, "control plane nodes: %q, worker nodes: %q\n", f.controlPlanes, f.workers)
	all := f.all()
	each := func(nodes []string, ask func(context.Context, string) error) func(context.Context) error {
		return func(ctx context.Context) error {
			for _, n := range nodes {
				ctx, cancel := context.WithTimeout(client.WithNode(ctx, n), 2*look)
				err := ask(ctx, n)
				cancel()
				if err != nil {
					return fmt.Errorf("%s: %w", n, err)
				}
			}

			return nil
		}
	}

	return waitFor(ctx, a.err, []check{
		{"all nodes to be ready", each(all, func(ctx context.Context, _ string) error { return nodeReady(ctx, c) })},
		{"all services to be healthy", each(all, func(ctx context.Context, _ string) error { return servicesHealthy(ctx, c) })},
		{"etcd to be healthy", each(f.controlPlanes, func(ctx context.Context, _ string) error { return etcdHealthy(ctx, c) })},
		{"etcd members to be the control plane nodes", each(f.controlPlanes[:min(1, len(f.controlPlanes))], func(ctx context.Context, _ string) error {
			return etcdComplete(ctx, c, len(f.controlPlanes))
		})},
	})
}

// waitFor repeats each check until it is met, printing a line whenever the reason changes.
func waitFor(ctx context.Context, out io.Writer, checks []check) error {
	for _, ch := range checks {
		last := ""
		fmt.Fprintf(out, "waiting for %s: ...\n", ch.name)
		for {
			err := ch.run(ctx)
			if err == nil {
				fmt.Fprintf(out, "waiting for %s: OK\n", ch.name)

				break
			}
			if reason := reasonOf(err); reason != last && ctx.Err() == nil {
				last = reason
				fmt.Fprintf(out, "waiting for %s: %s\n", ch.name, reason)
			}
			select {
			case <-ctx.Done():
				return fmt.Errorf("not healthy in time: %s: %s", ch.name, last)
			case <-time.After(time.Second):
			}
		}
	}

	return nil
}

// reasonOf is an error in one line, in a daemon's own words where it has some.
func reasonOf(err error) string {
	text := err.Error()
	if s, ok := status.FromError(err); ok {
		text = s.Message()
	}
	if where, what, found := strings.Cut(text, "rpc error: "); found {
		_, what, _ = strings.Cut(what, "desc = ")
		text = where + what
	}

	return oneLine(text)
}

func nodeReady(ctx context.Context, c *client.Client) error {
	stage, ready := machineStage(ctx, c)
	if stage == "" {
		return errors.New("no answer")
	}
	if !ready || stage != "running" {
		return fmt.Errorf("the node is %s, ready %v", stage, ready)
	}

	return nil
}

func servicesHealthy(ctx context.Context, c *client.Client) error {
	answer, err := c.Machine.ServiceList(ctx, &emptypb.Empty{})
	if err != nil {
		return err
	}
	var bad []string
	for _, m := range answer.GetMessages() {
		for _, s := range m.GetServices() {
			if s.GetState() == "Failed" || s.GetState() == "Running" && health(s.GetHealth()) == "Fail" {
				bad = append(bad, s.GetId()+" is "+s.GetState())
			}
		}
	}
	if len(bad) > 0 {
		return errors.New(strings.Join(bad, ", "))
	}

	return nil
}

func etcdHealthy(ctx context.Context, c *client.Client) error {
	answer, err := c.Machine.EtcdStatus(ctx, &emptypb.Empty{})
	if err != nil {
		return err
	}
	for _, m := range answer.GetMessages() {
		s := m.GetMemberStatus()
		switch {
		case len(s.GetErrors()) > 0:
			return errors.New(strings.Join(s.GetErrors(), ", "))
		case s.GetLeader() == 0:
			return errors.New("no leader")
		case s.GetIsLearner():
			return errors.New("still a learner")
		}
	}

	return nil
}

func etcdComplete(ctx context.Context, c *client.Client, want int) error {
	answer, err := c.Machine.EtcdMemberList(ctx, &machine.EtcdMemberListRequest{})
	if err != nil {
		return err
	}
	for _, m := range answer.GetMessages() {
		if got := len(m.GetMembers()); got != want {
			return fmt.Errorf("%d members, %d control plane nodes", got, want)
		}
	}

	return nil
}
