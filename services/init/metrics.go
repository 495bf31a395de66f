package initd

import (
	kitv1 "github.com/dactyl-os/dactyl/proto/local/dactyl/kit/v1"
	"github.com/dactyl-os/dactyl/services/init/internal/supervise"
	"github.com/dactyl-os/dactyl/services/kit/metrics"
)

// starts tells how often each service was started, and whether it serves.
func starts(services []supervise.Status) []*kitv1.Family {
	runs := metrics.Counter("dactyl_service_starts_total", "Starts of a service since init began; the first one is no restart.")
	ready := metrics.Gauge("dactyl_service_ready", "1 while the service serves.")

	for _, service := range services {
		if service.Run > 0 {
			runs.Samples = append(runs.Samples, metrics.Value(service.Run, "service", service.Name))
		}

		serves := 0
		if service.Ready {
			serves = 1
		}

		ready.Samples = append(ready.Samples, metrics.Value(serves, "service", service.Name))
	}

	return []*kitv1.Family{runs, ready}
}
