package networkd

import (
	"errors"

	"golang.org/x/sys/unix"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/dactyl-os/dactyl/proto/common"
	"github.com/dactyl-os/dactyl/proto/machine"

	"github.com/dactyl-os/dactyl/services/networkd/internal/capture"
)

// maxCaptures run at once: each holds up to 1 MiB of the kernel and some hundred KiB here.
const maxCaptures = 8

// PacketCapture sends what passes a link until the caller goes.
func (m *methods) PacketCapture(req *machine.PacketCaptureRequest, stream grpc.ServerStreamingServer[common.Data]) error {
	options, err := captureOptions(req)
	if err != nil {
		return err
	}

	select {
	case m.captures <- struct{}{}:
		defer func() { <-m.captures }()
	default:
		return status.Errorf(codes.ResourceExhausted, "%d captures run on this node already: end one of them first", maxCaptures)
	}

	ctx := stream.Context()
	err = capture.Run(ctx, options, func(b []byte) error { return stream.Send(&common.Data{Bytes: b}) })

	switch {
	case ctx.Err() != nil:
		return status.FromContextError(ctx.Err()).Err()
	case errors.Is(err, capture.ErrNoLink):
		return status.Errorf(codes.NotFound, "no link %q: `get links` lists them", req.GetInterface())
	case errors.Is(err, capture.ErrFilter):
		return status.Error(codes.InvalidArgument, err.Error())
	case errors.Is(err, capture.ErrDown):
		return status.Errorf(codes.FailedPrecondition, "capture on %s: %v", req.GetInterface(), err)
	case status.Code(err) != codes.Unknown:
		return err
	default:
		return status.Errorf(codes.Internal, "capture on %s: %v", req.GetInterface(), err)
	}
}

func captureOptions(req *machine.PacketCaptureRequest) (capture.Options, error) {
	o := capture.Options{Link: req.GetInterface(), Promiscuous: req.GetPromiscuous(), Snap: int(req.GetSnapLen())}

	switch {
	case o.Link == "":
		return o, status.Error(codes.InvalidArgument, "say on which link to capture: `get links` lists them")
	case o.Snap > capture.MaxSnap:
		return o, status.Errorf(codes.InvalidArgument, "%d bytes of each packet are too many: at most %d", o.Snap, capture.MaxSnap)
	case len(req.GetBpfFilter()) > capture.MaxFilter:
		return o, status.Errorf(codes.InvalidArgument, "the filter has %d instructions: the kernel takes at most %d",
			len(req.GetBpfFilter()), capture.MaxFilter)
	case o.Snap == 0:
		o.Snap = capture.DefaultSnap
	}

	for i, in := range req.GetBpfFilter() {
		if in.GetOp() > 0xffff || in.GetJt() > 0xff || in.GetJf() > 0xff {
			return o, status.Errorf(codes.InvalidArgument, "instruction %d of the filter: op has 16 bits, jt and jf have 8", i+1)
		}

		o.Filter = append(o.Filter, unix.SockFilter{Code: uint16(in.GetOp()), Jt: uint8(in.GetJt()), Jf: uint8(in.GetJf()), K: in.GetK()})
	}

	return o, nil
}
