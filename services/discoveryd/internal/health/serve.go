package health

import (
	"context"
	"errors"
	"fmt"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	clusterapi "github.com/dactyl-os/dactyl/proto/cluster"
	"github.com/dactyl-os/dactyl/services/discoveryd/internal/gossip"
)

// interval is how soon a change is seen; gossip itself takes about as long.
const interval = time.Second

// Mesh is where the members are known from.
type Mesh interface {
	View() (gossip.View, bool)
	There(nodeID string) bool
}

// Server serves ClusterService.
type Server struct {
	clusterapi.UnimplementedClusterServiceServer

	mesh Mesh
}

// New makes the server.
func New(mesh Mesh) *Server { return &Server{mesh: mesh} }

// HealthCheck says what is missing, as often as that changes, until nothing is or the time is over.
func (s *Server) HealthCheck(in *clusterapi.HealthCheckRequest, stream grpc.ServerStreamingServer[clusterapi.HealthCheckProgress]) error {
	ctx := stream.Context()

	if limit := in.GetWaitTimeout().AsDuration(); limit > 0 {
		var cancel context.CancelFunc

		ctx, cancel = context.WithTimeout(ctx, limit)
		defer cancel()
	}

	said := map[string]string{}
	say := func(check, word string) error {
		if said[check] == word {
			return nil
		}

		said[check] = word

		return stream.Send(&clusterapi.HealthCheckProgress{Message: fmt.Sprintf("waiting for %s: %s", check, word)})
	}

	for tick := time.Tick(interval); ; {
		check, err := s.look(in.GetClusterInfo(), say)
		if err != nil || check.Missing == "" {
			return err
		}

		select {
		case <-tick:
		case <-ctx.Done():
			if errors.Is(ctx.Err(), context.Canceled) {
				return status.FromContextError(ctx.Err()).Err()
			}

			return status.Errorf(codes.DeadlineExceeded, "the cluster is not healthy in time: waiting for %s: %s", check.Name, check.Missing)
		}
	}
}

// look goes through the checks and gives the first that is not met.
func (s *Server) look(asked *clusterapi.ClusterInfo, say func(check, word string) error) (Check, error) {
	view, known := s.mesh.View()
	if !known {
		check := Check{"this node to know itself", "it has no name and no address yet"}

		return check, say(check.Name, check.Missing)
	}

	for _, check := range Checks(view.Members, s.mesh.There, asked) {
		if check.Missing != "" {
			return check, say(check.Name, check.Missing)
		}

		if err := say(check.Name, "OK"); err != nil {
			return check, err
		}
	}

	return Check{}, nil
}
