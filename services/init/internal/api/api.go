// Package api is init's part of the public MachineService and its local service for the other daemons. Every answer that the
// gateway merges is a list of one message without metadata.
package api

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"slices"
	"strings"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/emptypb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/dactyl-os/dactyl/proto/machine"
	"github.com/dactyl-os/dactyl/services/init/internal/node"
	"github.com/dactyl-os/dactyl/services/init/internal/process"
	"github.com/dactyl-os/dactyl/services/init/internal/supervise"
	"github.com/dactyl-os/dactyl/services/kit/cmdline"
	"github.com/dactyl-os/dactyl/services/kit/peer"
	"github.com/dactyl-os/dactyl/services/kit/version"
)

// Server serves init's methods of MachineService.
type Server struct {
	machine.UnimplementedMachineServiceServer
	logs    *process.Runner
	node    *node.Node
	version *machine.VersionResponse
	logDir  string
	root    string
}

// New makes the server; root is put before /proc.
func New(n *node.Node, runner *process.Runner, logDir, root string) *Server {
	return &Server{node: n, logs: runner, logDir: logDir, root: root, version: versionOf(root)}
}

// versionOf builds the answer once: it never changes while init lives.
func versionOf(root string) *machine.VersionResponse {
	platform := "metal"

	if line, err := os.ReadFile(root + "/proc/cmdline"); err == nil {
		if name, set := cmdline.Parse(string(line)).First("talos.platform"); set {
			platform = name
		}
	}

	mode := "cloud"
	if platform == "metal" || platform == "container" {
		mode = platform
	}

	return &machine.VersionResponse{Messages: []*machine.Version{{
		Version: &machine.VersionInfo{
			Tag: version.Tag, Sha: version.SHA, Built: version.Built, GoVersion: runtime.Version(), Os: runtime.GOOS, Arch: runtime.GOARCH,
		},
		Platform: &machine.PlatformInfo{Name: platform, Mode: mode},
		Features: &machine.FeaturesInfo{Rbac: true},
	}}}
}

// Version tells what runs here.
func (s *Server) Version(context.Context, *emptypb.Empty) (*machine.VersionResponse, error) {
	return s.version, nil
}

// Hostname is the kernel's.
func (s *Server) Hostname(context.Context, *emptypb.Empty) (*machine.HostnameResponse, error) {
	name, err := os.Hostname()
	if err != nil {
		return nil, status.Errorf(codes.Internal, "read hostname: %v", err)
	}

	return &machine.HostnameResponse{Messages: []*machine.Hostname{{Hostname: name}}}, nil
}

// ServiceList lists every service under its name and its aliases.
func (s *Server) ServiceList(context.Context, *emptypb.Empty) (*machine.ServiceListResponse, error) {
	list := &machine.ServiceList{}

	for _, service := range s.node.Services() {
		for _, id := range append([]string{service.Name}, service.Aliases...) {
			list.Services = append(list.Services, serviceInfo(id, service))
		}
	}

	slices.SortFunc(list.Services, func(a, b *machine.ServiceInfo) int { return strings.Compare(a.GetId(), b.GetId()) })

	return &machine.ServiceListResponse{Messages: []*machine.ServiceList{list}}, nil
}

func serviceInfo(id string, s supervise.Status) *machine.ServiceInfo {
	info := &machine.ServiceInfo{Id: id, State: s.State.String(), Health: node.WireHealth(s.Health), Events: &machine.ServiceEvents{}}

	for _, e := range s.Events {
		info.Events.Events = append(info.Events.Events,
			&machine.ServiceEvent{Msg: e.Message, State: e.State.String(), Ts: timestamppb.New(e.Time)})
	}

	return info
}

// ServiceStart starts a service that was stopped or parked.
func (s *Server) ServiceStart(_ context.Context, in *machine.ServiceStartRequest) (*machine.ServiceStartResponse, error) {
	said, err := s.request(in.GetId(), "start", (*supervise.Core).Start)
	if err != nil {
		return nil, err
	}

	return &machine.ServiceStartResponse{Messages: []*machine.ServiceStart{{Resp: said}}}, nil
}

// ServiceStop stops a service until it is started again or the node restarts.
func (s *Server) ServiceStop(_ context.Context, in *machine.ServiceStopRequest) (*machine.ServiceStopResponse, error) {
	if slices.Contains([]string{"gateway", "apid"}, in.GetId()) {
		return nil, status.Error(codes.FailedPrecondition,
			"without the gateway nobody could start it again: use `service gateway restart`")
	}

	said, err := s.request(in.GetId(), "stop", (*supervise.Core).Stop)
	if err != nil {
		return nil, err
	}

	return &machine.ServiceStopResponse{Messages: []*machine.ServiceStop{{Resp: said}}}, nil
}

// ServiceRestart restarts a service; callers of it wait meanwhile.
func (s *Server) ServiceRestart(_ context.Context, in *machine.ServiceRestartRequest) (*machine.ServiceRestartResponse, error) {
	said, err := s.request(in.GetId(), "restart", (*supervise.Core).Restart)
	if err != nil {
		return nil, err
	}

	return &machine.ServiceRestartResponse{Messages: []*machine.ServiceRestart{{Resp: said}}}, nil
}

// Restart restarts a container by its name: in the namespace system those are the services.
func (s *Server) Restart(_ context.Context, in *machine.RestartRequest) (*machine.RestartResponse, error) {
	if namespace := in.GetNamespace(); namespace != "" && namespace != "system" {
		return nil, status.Errorf(codes.NotFound, "no containers in namespace %q: this node runs no Kubernetes", namespace)
	}

	if _, err := s.request(in.GetId(), "restart", (*supervise.Core).Restart); err != nil {
		return nil, err
	}

	return &machine.RestartResponse{Messages: []*machine.Restart{{}}}, nil
}

func (s *Server) request(id, verb string, change supervise.Request) (string, error) {
	if slices.Contains([]string{"init", "machined"}, id) {
		return "", status.Errorf(codes.FailedPrecondition,
			"init is PID 1, to %s it is to restart the node: use `reboot` or `shutdown`", verb)
	}

	said, err := s.node.Request(id, change)

	switch {
	case errors.Is(err, node.ErrUnknown):
		return "", status.Errorf(codes.NotFound, "no service %q here: `service` lists them", id)
	case errors.Is(err, supervise.ErrDown):
		return "", status.Error(codes.Unavailable, "the node is going down")
	case err != nil:
		return "", status.Errorf(codes.Internal, "%s %s: %v", verb, id, err)
	}

	return said, nil
}

// Reboot stops everything and starts the node again.
func (s *Server) Reboot(ctx context.Context, _ *machine.RebootRequest) (*machine.RebootResponse, error) {
	actor, err := goDown(ctx, s.node, node.Power{Reboot: true})
	if err != nil {
		return nil, err
	}

	return &machine.RebootResponse{Messages: []*machine.Reboot{{ActorId: actor}}}, nil
}

// Shutdown stops everything and powers the node off.
func (s *Server) Shutdown(ctx context.Context, _ *machine.ShutdownRequest) (*machine.ShutdownResponse, error) {
	actor, err := goDown(ctx, s.node, node.Power{})
	if err != nil {
		return nil, err
	}

	return &machine.ShutdownResponse{Messages: []*machine.Shutdown{{ActorId: actor}}}, nil
}

// goDown takes the node down on behalf of whoever calls.
func goDown(ctx context.Context, n *node.Node, power node.Power) (string, error) {
	power.Reason = "asked for through the API"
	if caller, known := peer.FromContext(ctx); known && caller.Daemon() && caller.Name != peer.Gateway {
		power.Reason = "asked for by " + caller.Name
	}

	actor, err := n.GoDown(power)

	switch {
	case errors.Is(err, node.ErrUnknownSequence):
		return "", status.Error(codes.InvalidArgument, err.Error())
	case err != nil:
		return "", status.Error(codes.FailedPrecondition, err.Error())
	}

	return actor, nil
}

// resolve gives the name of a service behind a name or an alias.
func (s *Server) resolve(id string) (string, error) {
	for _, service := range s.node.Services() {
		if service.Name == id || slices.Contains(service.Aliases, id) {
			return service.Name, nil
		}
	}

	// Not every log is a service's.
	if _, known := s.logs.Log(id); known {
		return id, nil
	}

	return "", fmt.Errorf("no service %q", id)
}
