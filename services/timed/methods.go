package timed

import (
	"context"
	"errors"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/emptypb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/cosi-project/runtime/pkg/state"

	timeapi "github.com/dactyl-os/dactyl/proto/time"

	"github.com/dactyl-os/dactyl/services/timed/internal/controllers"
	"github.com/dactyl-os/dactyl/services/timed/internal/sntp"
)

// answerTimeout bounds a call, however many servers are silent.
const answerTimeout = 8 * time.Second

// methods serves the time API.
type methods struct {
	timeapi.UnimplementedTimeServiceServer

	state state.State
}

// Time compares the clock with the first configured server that answers.
func (m *methods) Time(ctx context.Context, _ *emptypb.Empty) (*timeapi.TimeResponse, error) {
	servers, err := controllers.Servers(ctx, m.state)
	if err != nil {
		return nil, status.Error(codes.Unknown, err.Error())
	}

	if len(servers) == 0 {
		return nil, status.Error(codes.FailedPrecondition, "no time servers are configured")
	}

	return ask(ctx, servers)
}

// TimeCheck compares the clock with the server that the request names.
func (*methods) TimeCheck(ctx context.Context, req *timeapi.TimeRequest) (*timeapi.TimeResponse, error) {
	if req.GetServer() == "" {
		return nil, status.Error(codes.InvalidArgument, "the request names no time server")
	}

	return ask(ctx, []string{req.GetServer()})
}

func ask(ctx context.Context, servers []string) (*timeapi.TimeResponse, error) {
	ctx, cancel := context.WithTimeout(ctx, answerTimeout)
	defer cancel()

	a, err := sntp.Several(ctx, servers)

	switch {
	case errors.Is(err, context.DeadlineExceeded):
		return nil, status.Error(codes.DeadlineExceeded, err.Error())
	case err != nil:
		// Not Unavailable, which would have the call sent again: it is the time server that is away.
		return nil, status.Error(codes.Unknown, err.Error())
	}

	now := time.Now()

	return &timeapi.TimeResponse{Messages: []*timeapi.Time{{
		Server:     a.Server,
		Localtime:  timestamppb.New(now),
		Remotetime: timestamppb.New(now.Add(a.Offset)),
	}}}, nil
}
