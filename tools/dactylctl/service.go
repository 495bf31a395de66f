package main

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"google.golang.org/protobuf/types/known/emptypb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/dactyl-os/dactyl/proto/common"
	"github.com/dactyl-os/dactyl/proto/machine"
	"github.com/dactyl-os/dactyl/tools/internal/client"
)

func (a *app) serviceCommand() *cobra.Command {
	return &cobra.Command{
		Use:     "service [<id> [start|stop|restart|status]]",
		Aliases: []string{"services"},
		Short:   "List services, show one with its events, or start, stop and restart it",
		Args:    cobra.MaximumNArgs(2),
		Example: "  dactylctl -n 10.5.0.2 services\n  dactylctl -n 10.5.0.2 service networkd\n  dactylctl -n 10.5.0.2 service networkd restart",
		ValidArgsFunction: func(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
			switch len(args) {
			case 0:
				return a.serviceNames(cmd.Context()), cobra.ShellCompDirectiveNoFileComp
			case 1:
				return []string{"start", "stop", "restart", "status"}, cobra.ShellCompDirectiveNoFileComp
			}

			return nil, cobra.ShellCompDirectiveNoFileComp
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			action := "status"
			if len(args) == 2 {
				action = args[1]
			}

			return a.ask(cmd, func(ctx context.Context, c *client.Client) error {
				switch {
				case len(args) == 0:
					return a.listServices(ctx, c)
				case action == "status":
					return a.showService(ctx, c, args[0])
				}

				return a.actOnService(ctx, c, args[0], action)
			})
		},
	}
}

func (a *app) restartCommand() *cobra.Command {
	var kubernetes bool
	cmd := &cobra.Command{
		Use: "restart <id>", Short: "Restart a container: a service of the node, or one of Kubernetes", Args: cobra.ExactArgs(1),
		Example: "  dactylctl -n 10.5.0.2 restart networkd\n  dactylctl -n 10.5.0.2 restart -k kube-system/kube-proxy-x7q2b:kube-proxy",
		ValidArgsFunction: func(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
			if len(args) > 0 || kubernetes {
				return nil, cobra.ShellCompDirectiveNoFileComp
			}

			return a.serviceNames(cmd.Context()), cobra.ShellCompDirectiveNoFileComp
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			req := &machine.RestartRequest{Namespace: "system", Id: args[0]}
			if kubernetes {
				req.Namespace, req.Driver = "k8s.io", common.ContainerDriver_CRI
			}

			return a.ask(cmd, func(ctx context.Context, c *client.Client) error {
				answer, err := c.Machine.Restart(ctx, req)
				if err != nil {
					return err
				}

				return client.Each(c, answer.GetMessages(), func(node string, _ *machine.Restart) error {
					_, err := fmt.Fprintf(a.err, "%s: %s restarted\n", node, args[0])

					return err
				})
			})
		},
	}
	cmd.Flags().BoolVarP(&kubernetes, "kubernetes", "k", false, "a container of Kubernetes")

	return cmd
}

func (a *app) listServices(ctx context.Context, c *client.Client) error {
	answer, err := c.Machine.ServiceList(ctx, &emptypb.Empty{})
	if err != nil {
		return err
	}
	t := newTable(a.out, "NODE", "SERVICE", "STATE", "HEALTH", "LAST CHANGE", "LAST EVENT")
	err = client.Each(c, answer.GetMessages(), func(node string, m *machine.ServiceList) error {
		serviceRows(t, node, m, time.Now())

		return nil
	})
	if e := t.flush(); e != nil {
		return e
	}

	return err
}

func serviceRows(t *table, node string, m *machine.ServiceList, now time.Time) {
	for _, s := range m.GetServices() {
		change, event := "", ""
		if events := s.GetEvents().GetEvents(); len(events) > 0 {
			last := events[len(events)-1]
			change = ago(last.GetTs(), now)
			event, _, _ = strings.Cut(last.GetMsg(), "; its last log lines") // service NAME shows them
		}
		t.row(node, s.GetId(), s.GetState(), health(s.GetHealth()), change, event)
	}
}

func (a *app) showService(ctx context.Context, c *client.Client, id string) error {
	answer, err := c.Machine.ServiceList(ctx, &emptypb.Empty{})
	if err != nil {
		return err
	}
	found := 0
	err = client.Each(c, answer.GetMessages(), func(node string, m *machine.ServiceList) error {
		for _, s := range m.GetServices() {
			if s.GetId() == id {
				found++

				return printService(a.out, node, s, time.Now())
			}
		}

		return nil
	})
	if found == 0 && err == nil {
		return fmt.Errorf("service %q is not on %s: dactylctl services lists them", id, strings.Join(c.Targets(), ", "))
	}

	return err
}

func printService(w io.Writer, node string, s *machine.ServiceInfo, now time.Time) error {
	t := newTable(w)
	t.row("NODE", node)
	t.row("ID", s.GetId())
	t.row("STATE", s.GetState())
	t.row("HEALTH", health(s.GetHealth()))
	if msg := s.GetHealth().GetLastMessage(); msg != "" {
		t.row("LAST HEALTH MESSAGE", msg)
	}
	label := "EVENTS"
	events := slices.Clone(s.GetEvents().GetEvents())
	slices.Reverse(events)
	for _, e := range events {
		first, more, _ := strings.Cut(e.GetMsg(), "\n")
		t.row(label, fmt.Sprintf("[%s]: %s (%s)", e.GetState(), first, ago(e.GetTs(), now)))
		label = ""
		for line := range strings.Lines(more) {
			t.row("", "  "+strings.TrimRight(line, "\n"))
		}
	}

	return t.flush()
}

func (a *app) actOnService(ctx context.Context, c *client.Client, id, action string) error {
	t := newTable(a.out, "NODE", "RESPONSE")
	var err error
	switch action {
	case "start":
		var answer *machine.ServiceStartResponse
		if answer, err = c.Machine.ServiceStart(ctx, &machine.ServiceStartRequest{Id: id}); err == nil {
			err = client.Each(c, answer.GetMessages(), func(node string, m *machine.ServiceStart) error { t.row(node, m.GetResp()); return nil })
		}
	case "stop":
		var answer *machine.ServiceStopResponse
		if answer, err = c.Machine.ServiceStop(ctx, &machine.ServiceStopRequest{Id: id}); err == nil {
			err = client.Each(c, answer.GetMessages(), func(node string, m *machine.ServiceStop) error { t.row(node, m.GetResp()); return nil })
		}
	case "restart":
		var answer *machine.ServiceRestartResponse
		if answer, err = c.Machine.ServiceRestart(ctx, &machine.ServiceRestartRequest{Id: id}); err == nil {
			err = client.Each(c, answer.GetMessages(), func(node string, m *machine.ServiceRestart) error { t.row(node, m.GetResp()); return nil })
		}
	default:
		return fmt.Errorf("unknown action %q: it is start, stop, restart or status", action)
	}
	if err != nil && len(c.Targets()) == 1 {
		return err
	}
	if e := t.flush(); e != nil {
		return e
	}

	return err
}

func health(h *machine.ServiceHealth) string {
	switch {
	case h == nil || h.GetUnknown():
		return "?"
	case h.GetHealthy():
		return "OK"
	default:
		return "Fail"
	}
}

func ago(ts *timestamppb.Timestamp, now time.Time) string {
	if ts == nil {
		return ""
	}

	return max(now.Sub(ts.AsTime()), 0).Round(time.Second).String() + " ago"
}
