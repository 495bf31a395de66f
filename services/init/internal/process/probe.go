package process

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"syscall"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"

	"github.com/dactyl-os/dactyl/services/init/internal/manifest"

	"github.com/dactyl-os/dactyl/services/kit/backoff"
)

const (
	// probeTimeout bounds one question whether a program serves yet, probeFirst and probeLast the time between two.
	probeTimeout = 4 * time.Second
	probeFirst   = 50 * time.Millisecond
	probeLast    = time.Second
)

// awaitProbe calls ready once the program serves, or at once when there is nothing to ask.
func (r *Runner) awaitProbe(spec manifest.Manifest, ready func(version string), ended <-chan struct{}) {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()

	for retry := (backoff.Backoff{First: probeFirst, Most: probeLast}); !spec.Ready.None(); {
		ask, done := context.WithTimeout(ctx, probeTimeout)
		err := r.Probe(ask, spec, spec.Ready)

		done()

		if err == nil {
			break
		}

		select {
		case <-time.After(retry.Next()):
		case <-ended:
			return
		}
	}

	ready("")
}

// ErrRefused is an answer, and not the one that was wanted.
var ErrRefused = errors.New("not healthy")

// Probe asks a program whether it serves; an error that is not ErrRefused is no answer.
func (r *Runner) Probe(ctx context.Context, spec manifest.Manifest, probe manifest.Probe) error {
	switch {
	case probe.Socket != "":
		conn, err := (&net.Dialer{}).DialContext(ctx, "unix", probe.Socket)
		if err != nil {
			return err
		}

		return conn.Close()
	case probe.GRPC != "":
		return askGRPC(ctx, probe.GRPC)
	case probe.HTTP != "":
		return askHTTP(ctx, probe.HTTP)
	case len(probe.Exec) > 0:
		return r.askExec(ctx, spec, probe.Exec)
	default:
		return nil
	}
}

func askGRPC(ctx context.Context, path string) error {
	conn, err := grpc.NewClient("unix:"+path, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return err
	}
	defer conn.Close()

	answer, err := grpc_health_v1.NewHealthClient(conn).Check(ctx, &grpc_health_v1.HealthCheckRequest{})
	if err != nil {
		return errors.New(status.Convert(err).Message())
	}

	if answer.GetStatus() != grpc_health_v1.HealthCheckResponse_SERVING {
		return fmt.Errorf("%w: %s", ErrRefused, answer.GetStatus())
	}

	return nil
}

func askHTTP(ctx context.Context, address string) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, address, http.NoBody)
	if err != nil {
		return err
	}

	// One question a connection: nothing is kept between two, and no redirect leads away from this node.
	request.Close = true

	answer, err := (&http.Transport{DisableKeepAlives: true}).RoundTrip(request)
	if err != nil {
		return err
	}

	_ = answer.Body.Close()

	if answer.StatusCode < 200 || answer.StatusCode > 299 {
		return fmt.Errorf("%w: %s", ErrRefused, answer.Status)
	}

	return nil
}

// askExec runs a command as the program itself is run, in its cgroup.
func (r *Runner) askExec(ctx context.Context, spec manifest.Manifest, command []string) error {
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer null.Close()

	group, err := r.cgroups.open(groupOf(spec), spec.Memory, spec.Delegate)
	if err != nil {
		return err
	}

	if group != nil {
		defer group.Close()
	}

	asker := spec
	asker.Command = command
	ended := make(chan syscall.WaitStatus, 1)

	box, err := r.rules(asker)
	if err != nil {
		return err
	}

	if box != nil {
		defer box.Close()
	}

	pid, err := r.reaper.start(func() (int, error) {
		return spawn(asker, environment(spec), []uintptr{null.Fd(), null.Fd(), null.Fd()}, group, box)
	}, func(status syscall.WaitStatus) { ended <- status })
	if err != nil {
		return err
	}

	select {
	case status := <-ended:
		if !status.Exited() || status.ExitStatus() != 0 {
			return fmt.Errorf("%w: %s: %s", ErrRefused, command[0], describe(status))
		}

		return nil
	case <-ctx.Done():
		_ = syscall.Kill(-pid, syscall.SIGKILL)

		return fmt.Errorf("%s: %w", command[0], ctx.Err())
	}
}
