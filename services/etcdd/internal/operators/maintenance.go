package operators

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/emptypb"

	"github.com/dactyl-os/dactyl/proto/common"
	"github.com/dactyl-os/dactyl/proto/machine"
)

// EtcdSnapshot streams the database, followed by its SHA-256 as etcdctl's snapshots have it.
func (s *Server) EtcdSnapshot(_ *machine.EtcdSnapshotRequest, stream grpc.ServerStreamingServer[common.Data]) error {
	m, err := s.Keeper.Running(stream.Context())
	if err != nil {
		return asStatus(err)
	}

	messages := bufio.NewWriterSize(writer(func(data []byte) error { return stream.Send(&common.Data{Bytes: data}) }), chunk)

	if err = m.Snapshot(messages); err == nil {
		err = messages.Flush()
	}

	if err != nil {
		return asStatus(err)
	}

	return nil
}

// EtcdRecover takes a snapshot that Bootstrap begins with; it is checked there, as only then it is known how.
func (s *Server) EtcdRecover(stream grpc.ClientStreamingServer[common.Data, machine.EtcdRecoverResponse]) error {
	err := s.Keeper.Upload(stream.Context(), func(w io.Writer) error {
		for {
			piece, err := stream.Recv()
			if errors.Is(err, io.EOF) {
				return nil
			}

			if err == nil {
				_, err = w.Write(piece.GetBytes())
			}

			if err != nil {
				return err
			}
		}
	})
	if err != nil {
		return asStatus(err)
	}

	return stream.SendAndClose(&machine.EtcdRecoverResponse{Messages: []*machine.EtcdRecover{{}}})
}

// writer sends what is written.
type writer func([]byte) error

func (w writer) Write(data []byte) (int, error) {
	if err := w(data); err != nil {
		return 0, err
	}

	return len(data), nil
}

// EtcdAlarmList lists the cluster's alarms.
func (s *Server) EtcdAlarmList(ctx context.Context, _ *emptypb.Empty) (*machine.EtcdAlarmListResponse, error) {
	m, err := s.Keeper.Running(ctx)
	if err != nil {
		return nil, asStatus(err)
	}

	answer, err := m.Client().AlarmList(plain(ctx))
	if err != nil {
		return nil, asStatus(fmt.Errorf("list etcd alarms: %w", err))
	}

	return &machine.EtcdAlarmListResponse{Messages: []*machine.EtcdAlarm{{MemberAlarms: alarms(answer.Alarms)}}}, nil
}

// EtcdAlarmDisarm disarms all alarms of the cluster and tells which they were.
func (s *Server) EtcdAlarmDisarm(ctx context.Context, _ *emptypb.Empty) (*machine.EtcdAlarmDisarmResponse, error) {
	m, err := s.Keeper.Running(ctx)
	if err != nil {
		return nil, asStatus(err)
	}

	answer, err := m.Client().AlarmDisarm(plain(ctx), &clientv3.AlarmMember{})
	if err != nil {
		return nil, asStatus(fmt.Errorf("disarm etcd alarms: %w", err))
	}

	return &machine.EtcdAlarmDisarmResponse{Messages: []*machine.EtcdAlarmDisarm{{MemberAlarms: alarms(answer.Alarms)}}}, nil
}

func alarms(list []*pb.AlarmMember) []*machine.EtcdMemberAlarm {
	var out []*machine.EtcdMemberAlarm

	for _, a := range list {
		// The numbers are etcd's own: NONE, NOSPACE, CORRUPT.
		out = append(out, &machine.EtcdMemberAlarm{MemberId: a.MemberID, Alarm: machine.EtcdMemberAlarm_AlarmType(a.Alarm)})
	}

	return out
}

// EtcdDefragment gives the local member's free space back to the file system.
func (s *Server) EtcdDefragment(ctx context.Context, _ *emptypb.Empty) (*machine.EtcdDefragmentResponse, error) {
	m, err := s.Keeper.Running(ctx)
	if err != nil {
		return nil, asStatus(err)
	}

	if err = m.Defragment(); err != nil {
		return nil, asStatus(err)
	}

	return &machine.EtcdDefragmentResponse{Messages: []*machine.EtcdDefragment{{}}}, nil
}
