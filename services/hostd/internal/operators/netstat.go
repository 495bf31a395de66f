package operators

import (
	"context"
	"path/filepath"
	"slices"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/dactyl-os/dactyl/proto/machine"

	"github.com/dactyl-os/dactyl/services/hostd/internal/sockets"
)

// Netstat lists the sockets of the node's own network namespace. There are no pods yet: asked for all namespaces it gives
// the node's, asked for pods alone none.
func (s *Server) Netstat(_ context.Context, req *machine.NetstatRequest) (*machine.NetstatResponse, error) {
	out := &machine.Netstat{}

	if ns := req.GetNetns(); ns != nil && !ns.GetHostnetwork() {
		if names := ns.GetNetns(); len(names) > 0 {
			return nil, status.Errorf(codes.NotFound, "no network namespace %q: this node has no pods yet", names[0])
		}

		if ns.GetAllnetns() {
			return &machine.NetstatResponse{Messages: []*machine.Netstat{out}}, nil
		}
	}

	var holders map[uint64]sockets.Process

	withProcess := req.GetFeature().GetPid()
	if withProcess { // clients look into it without asking: a socket of nobody has an empty one
		holders = sockets.Holders(string(s.Proc))
	}

	for _, protocol := range asked(req.GetL4Proto()) {
		list, err := sockets.List(filepath.Join(string(s.Proc), "net"), protocol)
		if err != nil {
			return nil, s.asStatus(err)
		}

		for _, socket := range list {
			if !matches(req.GetFilter(), socket) {
				continue
			}

			r := record(socket)
			if withProcess { // clients look into it without asking: a socket of nobody has an empty one
				p := holders[socket.Inode]
				r.Process = &machine.ConnectRecord_Process{Pid: p.PID, Name: p.Name}
			}

			out.Connectrecord = append(out.Connectrecord, r)
		}
	}

	return &machine.NetstatResponse{Messages: []*machine.Netstat{out}}, nil
}

// asked gives the protocols of the request; all when it names none.
func asked(p *machine.NetstatRequest_L4Proto) []string {
	wanted := map[string]bool{
		"tcp": p.GetTcp(), "tcp6": p.GetTcp6(), "udp": p.GetUdp(), "udp6": p.GetUdp6(),
		"udplite": p.GetUdplite(), "udplite6": p.GetUdplite6(), "raw": p.GetRaw(), "raw6": p.GetRaw6(),
	}

	named := slices.DeleteFunc(slices.Clone(sockets.Protocols()), func(name string) bool { return !wanted[name] })
	if len(named) == 0 {
		return sockets.Protocols()
	}

	return named
}

func matches(filter machine.NetstatRequest_Filter, s sockets.Socket) bool {
	switch filter {
	case machine.NetstatRequest_CONNECTED:
		return s.Connected()
	case machine.NetstatRequest_LISTENING:
		return s.Listening()
	default:
		return true
	}
}

func record(s sockets.Socket) *machine.ConnectRecord {
	return &machine.ConnectRecord{
		L4Proto:    s.Protocol,
		Localip:    s.Local.Addr().String(),
		Localport:  uint32(s.Local.Port()),
		Remoteip:   s.Remote.Addr().String(),
		Remoteport: uint32(s.Remote.Port()),
		State:      machine.ConnectRecord_State(s.State),
		Txqueue:    s.TxQueue,
		Rxqueue:    s.RxQueue,
		Tr:         machine.ConnectRecord_TimerActive(s.Timer),
		Timerwhen:  s.TimerWhen,
		Retrnsmt:   s.Retransmits,
		Uid:        s.UID,
		Timeout:    s.Timeout,
		Inode:      s.Inode,
		Ref:        s.Ref,
		Pointer:    s.Pointer,
	}
}
