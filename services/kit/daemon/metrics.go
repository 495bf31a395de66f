package daemon

import (
	"context"
	"slices"

	kitv1 "github.com/dactyl-os/dactyl/proto/local/dactyl/kit/v1"

	"github.com/dactyl-os/dactyl/services/kit/metrics"
)

// Metrics adds figures of the daemon's own to those that the kit tells of every daemon: tell is called when somebody asks. Only
// for the constructor.
func (e *Env) Metrics(tell func() []*kitv1.Family) { e.tellMetrics = append(e.tellMetrics, tell) }

// ReadMetrics gives the daemon's figures of this moment.
func (e *Env) ReadMetrics() []*kitv1.Family {
	resources := metrics.Gauge("dactyl_resources", "Resources that the daemon publishes.")
	for _, count := range e.states.Store().Counts() {
		resources.Samples = append(resources.Samples, metrics.Value(count.Resources, "type", count.Type))
	}

	families := slices.Concat(metrics.Process(), metrics.Runtime(), metrics.Controllers(), []*kitv1.Family{
		resources, e.calls.Family("dactyl_calls_total", "Calls on the daemon's socket, by method and code."),
	})

	for _, tell := range e.tellMetrics {
		families = append(families, tell()...)
	}

	return families
}

// metricsServer answers the gateway.
type metricsServer struct {
	kitv1.UnimplementedMetricsServiceServer

	env *Env
}

// Metrics gives the daemon's figures of this moment.
func (s metricsServer) Metrics(context.Context, *kitv1.MetricsRequest) (*kitv1.MetricsResponse, error) {
	return &kitv1.MetricsResponse{Families: s.env.ReadMetrics()}, nil
}
