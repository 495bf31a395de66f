package api

import (
	"context"
	"errors"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/emptypb"

	"github.com/dactyl-os/dactyl/proto/common"
	"github.com/dactyl-os/dactyl/proto/machine"
	"github.com/dactyl-os/dactyl/services/init/internal/eventlog"
	"github.com/dactyl-os/dactyl/services/init/internal/logring"
	"github.com/dactyl-os/dactyl/services/kit/peer"
)

// previousSuffix asks for the log of the boot before.
const previousSuffix = ".prev"

// Events streams what happened and what happens.
func (s *Server) Events(in *machine.EventsRequest, stream grpc.ServerStreamingServer[machine.Event]) error {
	query := eventlog.Query{
		Tail: int(in.GetTailEvents()), TailID: in.GetTailId(), Actor: in.GetWithActorId(),
		Since: time.Duration(in.GetTailSeconds()) * time.Second,
		// Whoever follows them from outside hears of the way down before the gateway is stopped for it.
		UntilSealed: fromOutside(stream.Context()),
	}

	// The header tells the client that it misses nothing from here on.
	if err := stream.SendHeader(nil); err != nil {
		return err
	}

	err := s.node.Events.Read(stream.Context(), query, func(e eventlog.Event) error {
		return stream.Send(&machine.Event{Data: e.Data, Id: e.ID, ActorId: e.Actor})
	})
	if errors.Is(err, eventlog.ErrSealed) {
		return status.Errorf(codes.Unavailable, "this node is %s", s.node.Asked().Doing())
	}

	return s.end(stream.Context(), err)
}

func fromOutside(ctx context.Context) bool {
	caller, known := peer.FromContext(ctx)

	return known && caller.Name == peer.Gateway
}

// end turns the end of a stream into a status.
func (s *Server) end(ctx context.Context, err error) error {
	if err != nil && ctx.Err() != nil {
		return status.FromContextError(ctx.Err()).Err()
	}

	return err
}

// Logs streams a daemon's log. NAME.prev is the log of the boot before.
func (s *Server) Logs(in *machine.LogsRequest, stream grpc.ServerStreamingServer[common.Data]) error {
	if namespace := in.GetNamespace(); namespace != "" && namespace != "system" {
		return status.Errorf(codes.NotFound, "no containers in namespace %q: this node runs no Kubernetes", namespace)
	}

	id, previous := strings.CutSuffix(in.GetId(), previousSuffix)

	name, err := s.resolve(id)
	if err != nil {
		// Clients know the case by how the text ends.
		return status.Errorf(codes.NotFound, "no such service here, `logs` without a name lists the logs: log %q was not registered", in.GetId())
	}

	if previous {
		return s.previousLog(name, stream)
	}

	ring, known := s.logs.Log(name)
	if !known {
		return status.Errorf(codes.NotFound, "the log of %s could not be opened at boot, see `logs init`", name)
	}

	// A quiet log still answers at once.
	if err := stream.SendHeader(nil); err != nil {
		return err
	}

	return s.end(stream.Context(), ring.Read(stream.Context(), int(in.GetTailLines()), in.GetFollow(), func(p []byte) error {
		return stream.Send(&common.Data{Bytes: p})
	}))
}

func (s *Server) previousLog(name string, stream grpc.ServerStreamingServer[common.Data]) error {
	f, err := os.Open(logring.PreviousPath(s.logDir, name))
	if errors.Is(err, os.ErrNotExist) {
		return status.Errorf(codes.NotFound, "%s has no log of a previous boot", name)
	}

	if err != nil {
		return status.Errorf(codes.Internal, "open previous log: %v", err)
	}

	defer f.Close()

	for buf := make([]byte, 32<<10); ; {
		n, err := f.Read(buf)
		if n > 0 {
			if err := stream.Send(&common.Data{Bytes: buf[:n]}); err != nil {
				return err
			}
		}

		if errors.Is(err, io.EOF) {
			return nil
		}

		if err != nil {
			return status.Errorf(codes.Internal, "read previous log: %v", err)
		}
	}
}

// LogsContainers lists the logs there are, those of the previous boot too.
func (s *Server) LogsContainers(context.Context, *emptypb.Empty) (*machine.LogsContainersResponse, error) {
	var ids []string

	names := s.logs.Logs()

	for _, service := range s.node.Services() {
		names = append(names, service.Name)
		ids = append(ids, service.Aliases...)
	}

	for _, name := range names {
		ids = append(ids, name)

		if _, err := os.Stat(logring.PreviousPath(s.logDir, name)); err == nil {
			ids = append(ids, name+previousSuffix)
		}
	}

	slices.Sort(ids)

	return &machine.LogsContainersResponse{Messages: []*machine.LogsContainer{{Ids: slices.Compact(ids)}}}, nil
}
