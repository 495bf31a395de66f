package controllers

import (
	"context"
	"errors"
	"log/slog"
	"net/url"
	"path/filepath"
	"slices"

	"github.com/cosi-project/runtime/pkg/controller"
	"go.uber.org/zap"
	"google.golang.org/grpc"

	"github.com/dactyl-os/dactyl/proto/config"
	"github.com/dactyl-os/dactyl/proto/resource/runtime"
	"github.com/dactyl-os/dactyl/services/hostd/internal/delivery"
	"github.com/dactyl-os/dactyl/services/kit/reconcile"
)

// Sinks has the kernel's log and the events sent to where the configuration, and the kernel command line, want them.
type Sinks struct {
	// KernelLog and EventSink are those of the command line; empty: none.
	KernelLog, EventSink string
	// Kmsg is the path of the kernel's log, RunDir holds what lasts over the daemon's restarts.
	Kmsg, RunDir string
	Init         func() (*grpc.ClientConn, error)
	Log          *slog.Logger

	running map[string]context.CancelFunc
}

// Name is the owner of its resources.
func (*Sinks) Name() string { return "hostd.Sinks" }

// Inputs of the controller.
func (*Sinks) Inputs() []controller.Input {
	return []controller.Input{reconcile.MachineConfigInput()}
}

// Outputs of the controller.
func (*Sinks) Outputs() []controller.Output {
	return []controller.Output{
		{Type: runtime.KmsgLogConfigType, Kind: controller.OutputExclusive}, {Type: runtime.EventSinkConfigType, Kind: controller.OutputExclusive},
	}
}

// Run until ctx ends.
func (c *Sinks) Run(ctx context.Context, r controller.Runtime, _ *zap.Logger) error {
	c.running = map[string]context.CancelFunc{}

	return reconcile.Each(ctx, r, func() error {
		parsed, err := reconcile.MachineConfig(ctx, r)
		if err != nil {
			return err
		}

		logs, endpoint := c.wanted(parsed)
		c.deliver(ctx, logs, endpoint)

		kernel, events := map[string]runtime.KmsgLogConfigSpec{}, map[string]runtime.EventSinkConfigSpec{}
		if len(logs) > 0 {
			kernel[runtime.KmsgLogConfigID] = runtime.KmsgLogConfigSpec{Destinations: logs}
		}

		if endpoint != "" {
			events[runtime.EventSinkConfigID] = runtime.EventSinkConfigSpec{Endpoint: endpoint}
		}

		p := reconcile.Publisher{Writer: r, Owner: c.Name()}

		return errors.Join(
			reconcile.Publish(ctx, p, runtime.NewKmsgLogConfig, runtime.NamespaceName, kernel),
			reconcile.Publish(ctx, p, runtime.NewEventSinkConfig, runtime.NamespaceName, events))
	})
}

// wanted are the receivers; the configuration's come on top of the command line's, and there is one for events.
func (c *Sinks) wanted(parsed *config.Config) (logs []*url.URL, endpoint string) {
	destinations, endpoint := []string{c.KernelLog}, c.EventSink

	for _, d := range config.Of[*config.KmsgLogConfig](parsed) {
		destinations = append(destinations, d.URL)
	}

	for _, d := range config.Of[*config.EventSinkConfig](parsed) {
		endpoint = d.Endpoint
	}

	slices.Sort(destinations)

	for _, text := range slices.Compact(destinations) {
		// A configuration's have been checked.
		if u, err := url.Parse(text); err == nil && (u.Scheme == "tcp" || u.Scheme == "udp") {
			logs = append(logs, u)
		}
	}

	return logs, endpoint
}

// deliver starts what is new and ends what is not wanted any more.
func (c *Sinks) deliver(ctx context.Context, logs []*url.URL, endpoint string) {
	wanted := map[string]func(context.Context){}

	for _, destination := range logs {
		name := "kernel " + destination.String()
		wanted[name] = (&delivery.Kernel{Path: c.Kmsg, Destination: destination, Sent: c.sent(name), Log: c.Log}).Run
	}

	if endpoint != "" {
		name := "events " + endpoint
		wanted[name] = (&delivery.Events{Endpoint: endpoint, Init: c.Init, Sent: c.sent(name), Log: c.Log}).Run
	}

	for name, end := range c.running {
		if wanted[name] == nil {
			end()
			delete(c.running, name)
		}
	}

	for name, run := range wanted {
		if c.running[name] == nil {
			own, end := context.WithCancel(ctx)
			c.running[name] = end

			go run(own)
		}
	}
}

func (c *Sinks) sent(name string) string {
	return filepath.Join(c.RunDir, "sent "+url.QueryEscape(name))
}
