// Package operators serves hostd's methods of the public API.
package operators

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"syscall"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/emptypb"

	"github.com/dactyl-os/dactyl/proto/common"
	"github.com/dactyl-os/dactyl/proto/machine"
	kernel "github.com/dactyl-os/dactyl/services/kit/kmsg"

	"github.com/dactyl-os/dactyl/services/hostd/internal/files"
	"github.com/dactyl-os/dactyl/services/hostd/internal/kmsg"
	"github.com/dactyl-os/dactyl/services/hostd/internal/proc"
)

// Server of the methods.
type Server struct {
	machine.UnimplementedMachineServiceServer

	Root files.Root
	Proc proc.FS
	Kmsg string // path of the kernel's log
}

// List the files below a path.
func (s *Server) List(r *machine.ListRequest, stream grpc.ServerStreamingServer[machine.FileInfo]) error {
	options := files.ListOptions{
		Depth: files.Depth(r.GetRecurse(), r.GetRecursionDepth()), Types: r.GetTypes(), Xattrs: r.GetReportXattrs(),
	}

	return s.asStatus(s.Root.List(stream.Context(), orRoot(r.GetRoot()), options, stream.Send))
}

// DiskUsage sums up sizes. A recursion depth of 0 shows all levels, of 1 the paths alone.
func (s *Server) DiskUsage(r *machine.DiskUsageRequest, stream grpc.ServerStreamingServer[machine.DiskUsageInfo]) error {
	options := files.UsageOptions{Depth: int(r.GetRecursionDepth()) - 1, All: r.GetAll(), Threshold: r.GetThreshold()}

	paths := r.GetPaths()
	if len(paths) == 0 {
		paths = []string{"/"}
	}

	for _, path := range paths {
		err := s.Root.Usage(stream.Context(), path, options, stream.Send)

		// One wrong path of many does not hide the others.
		if err != nil && len(paths) > 1 && status.Code(s.asStatus(err)) == codes.NotFound {
			err = stream.Send(&machine.DiskUsageInfo{Name: path, RelativeName: path, Error: s.message(err)})
		}

		if err != nil {
			return s.asStatus(err)
		}
	}

	return nil
}

func (s *Server) message(err error) string { return status.Convert(s.asStatus(err)).Message() }

// Read a file.
func (s *Server) Read(r *machine.ReadRequest, stream grpc.ServerStreamingServer[common.Data]) error {
	file, err := s.Root.Open(r.GetPath())
	if err != nil {
		return s.asStatus(err)
	}
	defer file.Close()

	return s.asStatus(files.Send(stream.Context(), file, sendData(stream)))
}

// Copy a file or a directory tree as tar.gz.
func (s *Server) Copy(r *machine.CopyRequest, stream grpc.ServerStreamingServer[common.Data]) error {
	out := bufio.NewWriterSize(writerFunc(sendData(stream)), files.Chunk)
	if err := s.Root.Archive(stream.Context(), orRoot(r.GetRootPath()), out); err != nil {
		return s.asStatus(errors.Join(err, out.Flush()))
	}

	return s.asStatus(out.Flush())
}

// Dmesg sends the kernel's log, one message a line.
func (s *Server) Dmesg(r *machine.DmesgRequest, stream grpc.ServerStreamingServer[common.Data]) error {
	send := sendData(stream)

	err := kmsg.Read(stream.Context(), s.Kmsg, kernel.Options{Follow: r.GetFollow(), Tail: r.GetTail()}, func(line string) error {
		return send([]byte(line))
	})
	if errors.Is(err, syscall.EPERM) || errors.Is(err, fs.ErrPermission) {
		return status.Errorf(codes.PermissionDenied, "the kernel's log may not be read here: the node has no capability "+
			"CAP_SYSLOG on this machine, as is usual for sandboxes and containers (%v)", err)
	}

	return s.asStatus(err)
}

// Memory of the machine.
func (s *Server) Memory(context.Context, *emptypb.Empty) (*machine.MemoryResponse, error) {
	info, err := s.Proc.Memory()
	if err != nil {
		return nil, s.asStatus(err)
	}

	return &machine.MemoryResponse{Messages: []*machine.Memory{{Meminfo: info}}}, nil
}

// LoadAvg of the machine.
func (s *Server) LoadAvg(context.Context, *emptypb.Empty) (*machine.LoadAvgResponse, error) {
	load, err := s.Proc.LoadAvg()
	if err != nil {
		return nil, s.asStatus(err)
	}

	return &machine.LoadAvgResponse{Messages: []*machine.LoadAvg{load}}, nil
}

// CPUInfo of each processor.
func (s *Server) CPUInfo(context.Context, *emptypb.Empty) (*machine.CPUInfoResponse, error) {
	cpus, err := s.Proc.CPUInfo()
	if err != nil {
		return nil, s.asStatus(err)
	}

	return &machine.CPUInfoResponse{Messages: []*machine.CPUsInfo{{CpuInfo: cpus}}}, nil
}

// SystemStat of the kernel.
func (s *Server) SystemStat(context.Context, *emptypb.Empty) (*machine.SystemStatResponse, error) {
	stat, err := s.Proc.SystemStat()
	if err != nil {
		return nil, s.asStatus(err)
	}

	return &machine.SystemStatResponse{Messages: []*machine.SystemStat{stat}}, nil
}

// DiskStats of each block device.
func (s *Server) DiskStats(context.Context, *emptypb.Empty) (*machine.DiskStatsResponse, error) {
	stats, err := s.Proc.DiskStats()
	if err != nil {
		return nil, s.asStatus(err)
	}

	return &machine.DiskStatsResponse{Messages: []*machine.DiskStats{stats}}, nil
}

// Processes of the node.
func (s *Server) Processes(context.Context, *emptypb.Empty) (*machine.ProcessesResponse, error) {
	list, err := s.Proc.Processes()
	if err != nil {
		return nil, s.asStatus(err)
	}

	return &machine.ProcessesResponse{Messages: []*machine.Process{{Processes: list}}}, nil
}

// Mounts of the node.
func (s *Server) Mounts(context.Context, *emptypb.Empty) (*machine.MountsResponse, error) {
	list, err := s.Proc.Mounts(string(s.Root))
	if err != nil {
		return nil, s.asStatus(err)
	}

	return &machine.MountsResponse{Messages: []*machine.Mounts{{Stats: list}}}, nil
}

func orRoot(path string) string {
	if path == "" {
		return "/"
	}

	return path
}

// sendData sends bytes; the stream holds the sender back when the client is slow.
func sendData(stream grpc.ServerStreamingServer[common.Data]) func([]byte) error {
	return func(b []byte) error { return stream.Send(&common.Data{Bytes: b}) }
}

type writerFunc func([]byte) error

func (f writerFunc) Write(b []byte) (int, error) { return len(b), f(b) }

// asStatus gives errors the code that clients branch on, and names the path as the node knows it.
func (s *Server) asStatus(err error) error {
	unreadable := (*files.Unreadable)(nil)

	if at := (*fs.PathError)(nil); errors.As(err, &at) && !errors.As(err, &unreadable) {
		err = fmt.Errorf("%s: %w", strings.ToValidUTF8(s.Root.Show(at.Path), "\uFFFD"), at.Err)
	}

	switch {
	case err == nil:
		return nil
	case errors.As(err, &unreadable):
		// All that could be copied is; none of the codes below says so.
		return status.Error(codes.DataLoss, strings.ToValidUTF8(err.Error(), "\uFFFD"))
	case status.Code(err) != codes.Unknown:
		return err
	case errors.Is(err, context.Canceled):
		return status.Error(codes.Canceled, err.Error())
	case errors.Is(err, context.DeadlineExceeded):
		return status.Error(codes.DeadlineExceeded, err.Error())
	case errors.Is(err, fs.ErrNotExist):
		return status.Error(codes.NotFound, err.Error())
	case errors.Is(err, fs.ErrPermission):
		return status.Error(codes.PermissionDenied, err.Error())
	case errors.Is(err, syscall.ENOTDIR), errors.Is(err, syscall.ELOOP), errors.Is(err, files.ErrNotRegular), errors.Is(err, os.ErrInvalid),
		errors.Is(err, files.ErrPath), errors.Is(err, syscall.ENAMETOOLONG), errors.Is(err, files.ErrTaken):
		return status.Error(codes.InvalidArgument, err.Error())
	default:
		return status.Error(codes.Internal, err.Error())
	}
}
