package api

import (
	"context"
	"slices"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	initv1 "github.com/dactyl-os/dactyl/proto/local/dactyl/init/v1"
	"github.com/dactyl-os/dactyl/services/init/internal/node"
	"github.com/dactyl-os/dactyl/services/init/internal/supervise"
	"github.com/dactyl-os/dactyl/services/kit/peer"
)

// Local serves init's own API to the other daemons.
type Local struct {
	initv1.UnimplementedInitServiceServer
	node    *node.Node
	release func() error
	mounted func(target string) error
}

// NewLocal makes the local server; release lets go of the disk that /var is on, mounted makes the daemons' directories on one.
func NewLocal(n *node.Node, release func() error, mounted func(target string) error) *Local {
	return &Local{node: n, release: release, mounted: mounted}
}

// Publish adds a daemon's event to the node's stream.
func (l *Local) Publish(_ context.Context, in *initv1.PublishRequest) (*initv1.PublishResponse, error) {
	payload, err := in.GetData().UnmarshalNew()
	if err != nil {
		return nil, status.Errorf(codes.InvalidArgument, "decode event: %v", err)
	}

	if err := l.node.Events.Publish(in.GetActorId(), payload); err != nil {
		return nil, status.Error(codes.Internal, err.Error())
	}

	return &initv1.PublishResponse{}, nil
}

// GoDown takes the node down.
func (l *Local) GoDown(ctx context.Context, in *initv1.GoDownRequest) (*initv1.GoDownResponse, error) {
	actor, err := goDown(ctx, l.node, node.Power{Sequence: in.GetSequence(), Reboot: in.GetReboot()})
	if err != nil {
		return nil, err
	}

	return &initv1.GoDownResponse{ActorId: actor}, nil
}

// GoingDown tells whether the node is on its way down.
func (l *Local) GoingDown(context.Context, *initv1.GoingDownRequest) (*initv1.GoingDownResponse, error) {
	answer := &initv1.GoingDownResponse{}
	if power := l.node.Asked(); power != nil {
		answer.Doing = power.Doing()
	}

	return answer, nil
}

// Release lets go of /var once the node is going down.
func (l *Local) Release(context.Context, *initv1.ReleaseRequest) (*initv1.ReleaseResponse, error) {
	if l.node.Asked() == nil {
		return nil, status.Error(codes.FailedPrecondition, "the node is not going down")
	}

	if err := l.release(); err != nil {
		return nil, status.Error(codes.Internal, err.Error())
	}

	return &initv1.ReleaseResponse{}, nil
}

// Mounted makes what daemons own on a volume.
func (l *Local) Mounted(_ context.Context, in *initv1.MountedRequest) (*initv1.MountedResponse, error) {
	if err := l.mounted(in.GetTarget()); err != nil {
		return nil, status.Error(codes.Internal, err.Error())
	}

	return &initv1.MountedResponse{}, nil
}

// Report takes a daemon's word about itself.
func (l *Local) Report(ctx context.Context, in *initv1.ReportRequest) (*initv1.ReportResponse, error) {
	service := in.GetService()
	if caller, known := peer.FromContext(ctx); known && caller.Daemon() {
		service = caller.Name
	}

	states := []supervise.State{supervise.Preparing, supervise.Waiting, supervise.Running, supervise.Failed}

	at := slices.IndexFunc(states, func(s supervise.State) bool { return s.String() == in.GetState() })
	if at < 0 {
		return nil, status.Errorf(codes.InvalidArgument, "a daemon cannot report itself %q", in.GetState())
	}

	if err := l.node.Report(service, states[at], in.GetMessage()); err != nil {
		return nil, status.Error(codes.FailedPrecondition, err.Error())
	}

	return &initv1.ReportResponse{}, nil
}
