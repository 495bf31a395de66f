package networkd

import (
	"context"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/emptypb"

	"github.com/dactyl-os/dactyl/proto/machine"

	"github.com/dactyl-os/dactyl/services/networkd/internal/rtnl"
)

// methods serves networkd's part of the machine API.
type methods struct {
	machine.UnimplementedMachineServiceServer

	conn     *rtnl.Conn
	captures chan struct{} // one for each that runs
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
