// Package operators serves etcdd's methods of the public API.
package operators

import (
	"context"
	"errors"
	"fmt"
	"log/slog"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/emptypb"

	"github.com/dactyl-os/dactyl/proto/machine"

	"github.com/dactyl-os/dactyl/services/etcdd/internal/engine"
	"github.com/dactyl-os/dactyl/services/etcdd/internal/keeper"
	"github.com/dactyl-os/dactyl/services/kit/etcdsnapshot"
)

// chunk is how much of a snapshot goes into one message.
const chunk = 64 << 10

// Server of the methods.
type Server struct {
	machine.UnimplementedMachineServiceServer

	Keeper *keeper.Keeper
	Log    *slog.Logger
}

// Bootstrap begins a new cluster on this node, empty or with the snapshot that EtcdRecover took.
func (s *Server) Bootstrap(ctx context.Context, r *machine.BootstrapRequest) (*machine.BootstrapResponse, error) {
	var err error
	if r.GetRecoverEtcd() {
		_, err = s.Keeper.Recover(ctx, r.GetRecoverSkipHashCheck())
	} else {
		err = s.Keeper.Bootstrap(ctx)
	}

	if err != nil {
		return nil, asStatus(err)
	}

	return &machine.BootstrapResponse{Messages: []*machine.Bootstrap{{}}}, nil
}

// EtcdMemberList lists the members, as the local member knows them or as the cluster agrees.
func (s *Server) EtcdMemberList(ctx context.Context, r *machine.EtcdMemberListRequest) (*machine.EtcdMemberListResponse, error) {
	list, err := s.members(ctx, r.GetQueryLocal())
	if err != nil {
		return nil, err
	}

	out := &machine.EtcdMembers{}
	for _, m := range list {
		out.LegacyMembers = append(out.LegacyMembers, m.Name)
		out.Members = append(out.Members, &machine.EtcdMember{
			Id: m.ID, Hostname: m.Name, PeerUrls: m.PeerURLs, ClientUrls: m.ClientURLs, IsLearner: m.IsLearner,
		})
	}

	return &machine.EtcdMemberListResponse{Messages: []*machine.EtcdMembers{out}}, nil
}

func (s *Server) members(ctx context.Context, local bool) ([]*pb.Member, error) {
	m, err := s.Keeper.Running(ctx)
	if err != nil {
		return nil, asStatus(err)
	}

	var opts []clientv3.OpOption
	if local {
		opts = append(opts, clientv3.WithSerializable())
	}

	answer, err := m.Client().MemberList(plain(ctx), opts...)
	if err != nil {
		return nil, asStatus(fmt.Errorf("list etcd members: %w", err))
	}

	return answer.Members, nil
}

// EtcdStatus tells the state of the local member.
func (s *Server) EtcdStatus(ctx context.Context, _ *emptypb.Empty) (*machine.EtcdStatusResponse, error) {
	m, err := s.Keeper.Running(ctx)
	if err != nil {
		return nil, asStatus(err)
	}

	st, err := m.Status(plain(ctx))
	if err != nil {
		return nil, asStatus(fmt.Errorf("etcd status: %w", err))
	}

	return &machine.EtcdStatusResponse{Messages: []*machine.EtcdStatus{{MemberStatus: &machine.EtcdMemberStatus{
		ProtocolVersion: st.Version, DbSize: st.DbSize, DbSizeInUse: st.DbSizeInUse, Leader: st.Leader,
		RaftIndex: st.RaftIndex, RaftTerm: st.RaftTerm, RaftAppliedIndex: st.RaftAppliedIndex,
		Errors: st.Errors, IsLearner: st.IsLearner, MemberId: st.Header.MemberId,
	}}}}, nil
}

// EtcdRemoveMemberByID takes another member off the list.
func (s *Server) EtcdRemoveMemberByID(ctx context.Context, r *machine.EtcdRemoveMemberByIDRequest) (*machine.EtcdRemoveMemberByIDResponse, error) {
	m, err := s.Keeper.Running(ctx)
	if err != nil {
		return nil, asStatus(err)
	}

	if m.ID == r.GetMemberId() {
		return nil, status.Error(codes.InvalidArgument, "this is the member of the node that was asked; let it leave (etcd leave) instead")
	}

	if err = m.Remove(plain(ctx), r.GetMemberId()); err != nil {
		return nil, asStatus(fmt.Errorf("remove etcd member %016x: %w", r.GetMemberId(), err))
	}

	return &machine.EtcdRemoveMemberByIDResponse{Messages: []*machine.EtcdRemoveMemberByID{{}}}, nil
}

// EtcdLeaveCluster takes this node's member off the list and removes its data.
func (s *Server) EtcdLeaveCluster(ctx context.Context, _ *machine.EtcdLeaveClusterRequest) (*machine.EtcdLeaveClusterResponse, error) {
	if err := s.Keeper.Leave(plain(ctx)); err != nil {
		return nil, asStatus(err)
	}

	return &machine.EtcdLeaveClusterResponse{Messages: []*machine.EtcdLeaveCluster{{}}}, nil
}

// EtcdForfeitLeadership hands the leadership to another voter if this member leads.
func (s *Server) EtcdForfeitLeadership(ctx context.Context, _ *machine.EtcdForfeitLeadershipRequest) (*machine.EtcdForfeitLeadershipResponse, error) {
	m, err := s.Keeper.Running(ctx)
	if err != nil {
		return nil, asStatus(err)
	}

	out := &machine.EtcdForfeitLeadership{}
	answer := &machine.EtcdForfeitLeadershipResponse{Messages: []*machine.EtcdForfeitLeadership{out}}

	if !m.IsLeader() {
		return answer, nil
	}

	next, err := s.successor(ctx, m)
	if err != nil {
		return nil, err
	}

	if _, err = m.Client().MoveLeader(plain(ctx), next.ID); err != nil {
		return nil, asStatus(fmt.Errorf("move etcd leadership to %s: %w", next.Name, err))
	}

	out.Member = next.Name

	return answer, nil
}

func (s *Server) successor(ctx context.Context, m *engine.Member) (*pb.Member, error) {
	list, err := s.members(ctx, false)
	if err != nil {
		return nil, err
	}

	for _, other := range list {
		if other.ID != m.ID && !other.IsLearner && other.Name != "" {
			return other, nil
		}
	}

	return nil, status.Error(codes.FailedPrecondition, "there is no other etcd member that could lead")
}

// plain hides the caller from etcd, which would take its credentials for those of one of its own clients.
func plain(ctx context.Context) context.Context { return withoutValues{ctx} }

type withoutValues struct{ context.Context }

func (withoutValues) Value(any) any { return nil }

// asStatus gives errors the code that clients branch on.
func asStatus(err error) error {
	var known rpctypes.EtcdError

	switch code := status.Code(err); {
	case errors.Is(err, keeper.ErrNotEmpty):
		return status.Error(codes.AlreadyExists, err.Error())
	case errors.Is(err, keeper.ErrClusterExists), errors.Is(err, keeper.ErrNotControlPlane), errors.Is(err, keeper.ErrNotRunning),
		errors.Is(err, keeper.ErrNotReady), errors.Is(err, keeper.ErrOnlyMember), errors.Is(err, keeper.ErrRecovering),
		errors.Is(err, keeper.ErrUploading), errors.Is(err, engine.ErrNoSnapshot):
		return status.Error(codes.FailedPrecondition, err.Error())
	case errors.Is(err, etcdsnapshot.ErrNoHash), errors.Is(err, etcdsnapshot.ErrHash), errors.Is(err, etcdsnapshot.ErrDamaged):
		return status.Error(codes.InvalidArgument, err.Error())
	case errors.Is(err, engine.ErrRemoved):
		return status.Error(codes.FailedPrecondition, err.Error())
	case errors.Is(err, keeper.ErrNoMember):
		return status.Error(codes.NotFound, err.Error())
	case errors.As(err, &known) && known.Code() == codes.Unavailable:
		return status.Error(codes.FailedPrecondition, err.Error()) // unavailable is a node that does not answer; this one did
	case errors.As(err, &known):
		return status.Error(known.Code(), err.Error())
	case errors.Is(err, context.DeadlineExceeded):
		return status.Error(codes.DeadlineExceeded, err.Error()+" (does the cluster have a majority?)")
	case errors.Is(err, context.Canceled):
		return status.Error(codes.Canceled, err.Error())
	case code != codes.Unknown:
		return err
	default:
		return status.Error(codes.Internal, err.Error())
	}
}
