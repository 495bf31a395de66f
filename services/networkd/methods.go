package networkd

import (
	"context"
	"slices"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/emptypb"

	"github.com/dactyl-os/dactyl/proto/machine"

	"github.com/dactyl-os/dactyl/services/networkd/internal/rtnl"
	"github.com/dactyl-os/dactyl/services/networkd/internal/sockets"
)

// methods serves networkd's part of the machine API.
type methods struct {
	machine.UnimplementedMachineServiceServer

	conn *rtnl.Conn
}

// NetworkDeviceStats gives the counters of every link and their sum.
func (m *methods) NetworkDeviceStats(context.Context, *emptypb.Empty) (*machine.NetworkDeviceStatsResponse, error) {
	stats, err := m.conn.Stats()
	if err != nil {
		return nil, status.Error(codes.Internal, err.Error())
	}

	out := &machine.NetworkDeviceStats{Total: &machine.NetDev{Name: "Total"}}

	for _, s := range stats {
		d := counters(s)
		out.Devices = append(out.Devices, d)
		sum(out.Total, d)
	}

	return &machine.NetworkDeviceStatsResponse{Messages: []*machine.NetworkDeviceStats{out}}, nil
}

// counters sums up as /proc/net/dev does.
func counters(s rtnl.Stats) *machine.NetDev {
	return &machine.NetDev{
		Name:         s.Name,
		RxBytes:      s.RXBytes,
		RxPackets:    s.RXPackets,
		RxErrors:     s.RXErrors,
		RxDropped:    s.RXDropped + s.RXMissedErrors,
		RxFifo:       s.RXFIFOErrors,
		RxFrame:      s.RXLengthErrors + s.RXOverErrors + s.RXCRCErrors + s.RXFrameErrors,
		RxCompressed: s.RXCompressed,
		RxMulticast:  s.Multicast,
		TxBytes:      s.TXBytes,
		TxPackets:    s.TXPackets,
		TxErrors:     s.TXErrors,
		TxDropped:    s.TXDropped,
		TxFifo:       s.TXFIFOErrors,
		TxCollisions: s.Collisions,
		TxCarrier:    s.TXCarrierErrors + s.TXAbortedErrors + s.TXWindowErrors + s.TXHeartbeatErrors,
		TxCompressed: s.TXCompressed,
	}
}

func sum(total, d *machine.NetDev) {
	total.RxBytes += d.RxBytes
	total.RxPackets += d.RxPackets
	total.RxErrors += d.RxErrors
	total.RxDropped += d.RxDropped
	total.RxFifo += d.RxFifo
	total.RxFrame += d.RxFrame
	total.RxCompressed += d.RxCompressed
	total.RxMulticast += d.RxMulticast
	total.TxBytes += d.TxBytes
	total.TxPackets += d.TxPackets
	total.TxErrors += d.TxErrors
	total.TxDropped += d.TxDropped
	total.TxFifo += d.TxFifo
	total.TxCollisions += d.TxCollisions
	total.TxCarrier += d.TxCarrier
	total.TxCompressed += d.TxCompressed
}

// Netstat lists the sockets of the node's own namespace; those of pods come with the daemon that runs pods.
func (m *methods) Netstat(_ context.Context, req *machine.NetstatRequest) (*machine.NetstatResponse, error) {
	if ns := req.GetNetns(); len(ns.GetNetns()) > 0 || ns.GetAllnetns() {
		return nil, status.Error(codes.Unimplemented, "sockets of other network namespaces are not listed yet: only the node's own are")
	}

	var holders map[uint64]sockets.Process
	if req.GetFeature().GetPid() {
		holders = sockets.Holders("/proc")
	}

	out := &machine.Netstat{}

	for _, protocol := range asked(req.GetL4Proto()) {
		list, err := sockets.List("/proc/net", protocol)
		if err != nil {
			return nil, status.Error(codes.Internal, err.Error())
		}

		for _, s := range list {
			if matches(req.GetFilter(), s) {
				out.Connectrecord = append(out.Connectrecord, record(s, holders))
			}
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

func record(s sockets.Socket, holders map[uint64]sockets.Process) *machine.ConnectRecord {
	r := &machine.ConnectRecord{
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

	// Whoever asks for processes reads each of them, also those of sockets that nobody has any more.
	if holders != nil {
		r.Process = &machine.ConnectRecord_Process{}
		if p, ok := holders[s.Inode]; ok && s.Inode != 0 {
			r.Process = &machine.ConnectRecord_Process{Pid: p.PID, Name: p.Name}
		}
	}

	return r
}
