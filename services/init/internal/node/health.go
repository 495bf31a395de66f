package node

import (
	"context"
	"errors"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"

	"github.com/dactyl-os/dactyl/services/init/internal/manifest"
	"github.com/dactyl-os/dactyl/services/init/internal/process"
	"github.com/dactyl-os/dactyl/services/init/internal/supervise"
)

const (
	healthInterval = 5 * time.Second
	healthTimeout  = 4 * time.Second
)

// Asker asks programs that do not speak our protocol.
type Asker interface {
	Probe(ctx context.Context, spec manifest.Manifest, probe manifest.Probe) error
}

// CheckHealth asks every service that serves for its health, when it comes up and then at an interval.
func (n *Node) CheckHealth(ctx context.Context, dial func(string) (*grpc.ClientConn, error), other Asker) error {
	checked := map[string]int{}
	running := map[string]chan struct{}{}
	tick := time.NewTicker(healthInterval)

	defer tick.Stop()

	for all := true; ; {
		var serving []supervise.Served

		_ = n.loop.Do(func(core *supervise.Core, _ time.Time) { serving = core.Serving() })

		for _, s := range serving {
			name := s.Spec.Name
			if (!all && checked[name] == s.Run) || busy(running[name]) {
				continue
			}

			done := make(chan struct{})
			checked[name], running[name] = s.Run, done

			go func() {
				defer close(done)

				n.checkOne(ctx, dial, other, s)
			}()
		}

		select {
		case <-tick.C:
			all = true
		case <-n.served:
			all = false
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

func (n *Node) checkOne(ctx context.Context, dial func(string) (*grpc.ClientConn, error), other Asker, s supervise.Served) {
	ctx, cancel := context.WithTimeout(ctx, healthTimeout)
	defer cancel()

	var check supervise.Check

	switch {
	case s.Spec.Serves():
		check = ask(ctx, dial, s.Spec.Name)
	case s.Spec.Health.None():
		return
	default:
		err := other.Probe(ctx, s.Spec, s.Spec.Health)
		check = supervise.Check{Healthy: err == nil, Answered: err == nil || errors.Is(err, process.ErrRefused)}

		if err != nil {
			check.Message = err.Error()
		}
	}

	// The loop drops results of a run that has ended meanwhile.
	_ = n.loop.Do(func(core *supervise.Core, now time.Time) { core.Checked(now, s.Spec.Name, s.Run, check) })
}

// ask asks one of our daemons.
func ask(ctx context.Context, dial func(string) (*grpc.ClientConn, error), name string) supervise.Check {
	conn, err := dial(name)
	if err != nil {
		return supervise.Check{Message: err.Error()}
	}

	answer, err := grpc_health_v1.NewHealthClient(conn).Check(ctx, &grpc_health_v1.HealthCheckRequest{})

	switch serving := answer.GetStatus(); {
	case ctx.Err() != nil:
		return supervise.Check{Message: "no answer within " + healthTimeout.String()}
	case err != nil:
		return supervise.Check{Message: status.Convert(err).Message()}
	case serving != grpc_health_v1.HealthCheckResponse_SERVING:
		return supervise.Check{Message: serving.String(), Answered: true}
	default:
		return supervise.Check{Healthy: true, Answered: true}
	}
}
