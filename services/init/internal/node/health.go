package node

import (
	"context"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"

	"github.com/dactyl-os/dactyl/services/init/internal/supervise"
)

const (
	healthInterval = 5 * time.Second
	healthTimeout  = 4 * time.Second
)

// CheckHealth asks every serving daemon for its health, soon after it came up and then at an interval.
func (n *Node) CheckHealth(ctx context.Context, dial func(string) (*grpc.ClientConn, error)) error {
	checked := map[string]int{}
	running := map[string]chan struct{}{}
	tick := time.NewTicker(healthInterval / 10)

	defer tick.Stop()

	for round := 0; ; round++ {
		var serving map[string]int

		_ = n.loop.Do(func(core *supervise.Core, _ time.Time) { serving = core.Serving() })

		for name, run := range serving {
			if (round%10 != 0 && checked[name] == run) || busy(running[name]) {
				continue
			}

			done := make(chan struct{})
			checked[name], running[name] = run, done

			go func() {
				defer close(done)
				n.checkOne(ctx, dial, name, run)
			}()
		}

		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil
		}
	}
}

func busy(done chan struct{}) bool {
	select {
	case <-done:
		return false
	default:
		return done != nil
	}
}

func (n *Node) checkOne(ctx context.Context, dial func(string) (*grpc.ClientConn, error), name string, run int) {
	ctx, cancel := context.WithTimeout(ctx, healthTimeout)
	defer cancel()

	healthy, message := false, ""

	conn, err := dial(name)
	if err == nil {
		var answer *grpc_health_v1.HealthCheckResponse

		answer, err = grpc_health_v1.NewHealthClient(conn).Check(ctx, &grpc_health_v1.HealthCheckRequest{})
		healthy = answer.GetStatus() == grpc_health_v1.HealthCheckResponse_SERVING

		if err == nil && !healthy {
			message = answer.GetStatus().String()
		}
	}

	if err != nil {
		message = status.Convert(err).Message()
	}

	// The loop drops results of a run that has ended meanwhile.
	_ = n.loop.Do(func(core *supervise.Core, now time.Time) { core.Checked(now, name, run, healthy, message) })
}
