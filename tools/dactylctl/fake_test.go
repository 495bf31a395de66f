package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	cosiapi "github.com/cosi-project/runtime/api/v1alpha1"
	"github.com/cosi-project/runtime/pkg/resource"
	"github.com/cosi-project/runtime/pkg/resource/meta"
	"github.com/cosi-project/runtime/pkg/state"
	"github.com/cosi-project/runtime/pkg/state/impl/inmem"
	"github.com/cosi-project/runtime/pkg/state/impl/namespaced"
	"github.com/cosi-project/runtime/pkg/state/protobuf/server"
	rpcstatus "google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/emptypb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/dactyl-os/dactyl/proto/common"
	"github.com/dactyl-os/dactyl/proto/config/clientconfig"
	"github.com/dactyl-os/dactyl/proto/config/pki"
	"github.com/dactyl-os/dactyl/proto/inspect"
	"github.com/dactyl-os/dactyl/proto/machine"
	resources "github.com/dactyl-os/dactyl/proto/resource"
	"github.com/dactyl-os/dactyl/proto/resource/config"
	"github.com/dactyl-os/dactyl/proto/resource/enums"
	"github.com/dactyl-os/dactyl/proto/resource/network"
	"github.com/dactyl-os/dactyl/proto/resource/runtime"
	"github.com/dactyl-os/dactyl/proto/resource/v1alpha1"
	"github.com/dactyl-os/dactyl/proto/storage"
	timeapi "github.com/dactyl-os/dactyl/proto/time"
)

// machineConfig is what the fake node runs with.
const machineConfig = "version: v1alpha1\nmachine:\n    type: worker\n    network:\n        hostname: first\n"

// fake is a gateway that answers for the nodes it is asked about; the node
// 10.0.0.9 is down.
type fake struct {
	machine.UnimplementedMachineServiceServer
	storage.UnimplementedStorageServiceServer
	resets  []*machine.ResetRequest
	applied []*machine.ApplyConfigurationRequest
	logs    [][]string // of each call of Logs; all but the last break off
	calls   int
	// restarting is how many calls find no daemon behind the gateway.
	restarting atomic.Int64
	documents  string // of the machine configuration, behind the first
}

const downNode = "10.0.0.9"

// each makes one message a target, as a gateway merges answers.
func each[M any](ctx context.Context, make func(md *common.Metadata) M) []M {
	md, _ := metadata.FromIncomingContext(ctx)
	targets := append(md.Get("nodes"), md.Get("node")...)
	if len(targets) == 0 {
		return []M{make(nil)}
	}
	var out []M
	for _, node := range targets {
		m := &common.Metadata{Hostname: node}
		if node == downNode {
			m.Error = "rpc error: code = Unavailable desc = connection error: connect: no route to host"
			m.Status = &rpcstatus.Status{Code: int32(codes.Unavailable), Message: "connection error: connect: no route to host"}
		}
		out = append(out, make(m))
	}

	return out
}

// absent are nodes for which the gateway itself answers, in its words.
var absent = map[string]error{
	"10.0.0.19": status.Error(codes.Unavailable, `node 10.0.0.19: connection error: desc = "transport: Error while dialing: dial tcp 10.0.0.19:50000: i/o timeout"`),
	"10.0.0.18": status.Error(codes.Unavailable, `node 10.0.0.18: connection error: desc = "transport: Error while dialing: dial tcp 10.0.0.18:50000: connect: connection refused"`),
	"nowhere": status.Error(codes.Unavailable,
		`node nowhere: connection error: desc = "transport: Error while dialing: no member of the cluster and no host is named \"nowhere\": lookup nowhere: no such host"`),
	"10.0.0.17": status.Error(codes.PermissionDenied, "not authorized"),
}

// refuse gives the error of a call to an absent node, and of each call while a daemon restarts.
func (f *fake) refuse(ctx context.Context) error {
	if f.restarting.Add(-1) >= 0 {
		return status.Error(codes.Unavailable, "hostd was restarted during the call")
	}
	md, _ := metadata.FromIncomingContext(ctx)
	if targets := append(md.Get("nodes"), md.Get("node")...); len(targets) == 1 {
		return absent[targets[0]]
	}

	return nil
}

func (f *fake) unary(ctx context.Context, req any, _ *grpc.UnaryServerInfo, handle grpc.UnaryHandler) (any, error) {
	if err := f.refuse(ctx); err != nil {
		return nil, err
	}

	return handle(ctx, req)
}

func (f *fake) stream(srv any, ss grpc.ServerStream, _ *grpc.StreamServerInfo, handle grpc.StreamHandler) error {
	if err := f.refuse(ss.Context()); err != nil {
		return err
	}

	return handle(srv, ss)
}

func (f *fake) Version(ctx context.Context, _ *emptypb.Empty) (*machine.VersionResponse, error) {
	return &machine.VersionResponse{Messages: each(ctx, func(md *common.Metadata) *machine.Version {
		if md.GetError() != "" {
			return &machine.Version{Metadata: md}
		}

		return &machine.Version{
			Metadata: md,
			Version:  &machine.VersionInfo{Tag: "v1.8.0", Sha: "abcdef1", Built: "2026-01-02T03:04:05Z", GoVersion: "go1.26.0", Os: "linux", Arch: "amd64"},
			Platform: &machine.PlatformInfo{Name: "container", Mode: "container"}, Features: &machine.FeaturesInfo{Rbac: true},
		}
	})}, nil
}

func (f *fake) ServiceList(ctx context.Context, _ *emptypb.Empty) (*machine.ServiceListResponse, error) {
	return &machine.ServiceListResponse{Messages: each(ctx, func(md *common.Metadata) *machine.ServiceList {
		return &machine.ServiceList{Metadata: md, Services: testServices(time.Now())}
	})}, nil
}

func testServices(now time.Time) []*machine.ServiceInfo {
	at := func(before time.Duration) *timestamppb.Timestamp { return timestamppb.New(now.Add(-before)) }

	return []*machine.ServiceInfo{
		{Id: "etcd", State: "Preparing", Health: &machine.ServiceHealth{Unknown: true}, Events: &machine.ServiceEvents{Events: []*machine.ServiceEvent{
			{State: "Waiting", Msg: `Waiting for service "networkd" to be "up", time sync`, Ts: at(20 * time.Second)},
			{State: "Preparing", Msg: "Running pre state", Ts: at(17 * time.Second)},
		}}},
		{Id: "networkd", State: "Failed", Health: &machine.ServiceHealth{LastMessage: "exit code 1"}, Events: &machine.ServiceEvents{Events: []*machine.ServiceEvent{
			{State: "Failed", Msg: "Parked after 5 crashes; its last log lines: panic: no link goroutine 1", Ts: at(time.Minute)},
		}}},
	}
}

func (f *fake) ServiceRestart(ctx context.Context, req *machine.ServiceRestartRequest) (*machine.ServiceRestartResponse, error) {
	return &machine.ServiceRestartResponse{Messages: each(ctx, func(md *common.Metadata) *machine.ServiceRestart {
		return &machine.ServiceRestart{Metadata: md, Resp: fmt.Sprintf("Service %q restarted", req.GetId())}
	})}, nil
}

func (f *fake) ApplyConfiguration(ctx context.Context, req *machine.ApplyConfigurationRequest) (*machine.ApplyConfigurationResponse, error) {
	f.applied = append(f.applied, req)

	return &machine.ApplyConfigurationResponse{Messages: each(ctx, func(md *common.Metadata) *machine.ApplyConfiguration {
		return &machine.ApplyConfiguration{Metadata: md, Warnings: []string{"the hostname is short"}, ModeDetails: "Applied configuration without a reboot"}
	})}, nil
}

// Reset refuses labels that the node does not have.
func (f *fake) Reset(ctx context.Context, req *machine.ResetRequest) (*machine.ResetResponse, error) {
	for _, p := range req.GetSystemPartitionsToWipe() {
		if p.GetLabel() != "EPHEMERAL" {
			return nil, status.Error(codes.FailedPrecondition, "/dev/vda has no partition "+p.GetLabel()+" (it has META, STATE, EPHEMERAL)")
		}
	}
	f.resets = append(f.resets, req)

	return &machine.ResetResponse{Messages: each(ctx, func(md *common.Metadata) *machine.Reset { return &machine.Reset{Metadata: md, ActorId: "actor"} })}, nil
}

// Reboot has the code of a node that is away, and the node stays.
func (f *fake) Reboot(context.Context, *machine.RebootRequest) (*machine.RebootResponse, error) {
	return nil, status.Error(codes.Unavailable, "init is not answering")
}

func (f *fake) Read(_ *machine.ReadRequest, stream grpc.ServerStreamingServer[common.Data]) error {
	return stream.Send(&common.Data{Bytes: []byte("the same boot\n")})
}

func (f *fake) Disks(ctx context.Context, _ *emptypb.Empty) (*storage.DisksResponse, error) {
	return &storage.DisksResponse{Messages: each(ctx, func(md *common.Metadata) *storage.Disks {
		if md.GetError() != "" {
			return &storage.Disks{Metadata: md}
		}

		return &storage.Disks{Metadata: md, Disks: []*storage.Disk{
			{
				DeviceName: "/dev/nvme0n1", Name: "nvme0n1", Model: "Fast 1 ", Serial: "F-1", Size: 512110190592, Type: storage.Disk_NVME,
				Uuid: "0a1b", Wwid: "eui.0025", BusPath: "/pci0000:00/0000:00:04.0/nvme/nvme0/nvme0n1", Subsystem: "/sys/class/block", SystemDisk: true,
			},
			{DeviceName: "/dev/sr0", Name: "sr0", Size: 4096, Type: storage.Disk_CD, Modalias: "scsi:t-0x05", Readonly: true},
		}}
	})}, nil
}

func (f *fake) Logs(_ *machine.LogsRequest, stream grpc.ServerStreamingServer[common.Data]) error {
	call := min(f.calls, len(f.logs)-1)
	f.calls++
	for _, chunk := range f.logs[call] {
		if err := stream.Send(&common.Data{Bytes: []byte(chunk)}); err != nil {
			return err
		}
	}
	if call < len(f.logs)-1 {
		return status.Error(codes.Unavailable, "the daemon went away")
	}

	return nil
}

func (f *fake) LogsContainers(ctx context.Context, _ *emptypb.Empty) (*machine.LogsContainersResponse, error) {
	return &machine.LogsContainersResponse{Messages: each(ctx, func(md *common.Metadata) *machine.LogsContainer {
		return &machine.LogsContainer{Metadata: md, Ids: []string{"configd", "configd.prev", "etcd"}}
	})}, nil
}

// Netstat tells back what it was asked for in the first record's program.
func (f *fake) Netstat(ctx context.Context, req *machine.NetstatRequest) (*machine.NetstatResponse, error) {
	return &machine.NetstatResponse{Messages: each(ctx, func(md *common.Metadata) *machine.Netstat {
		return &machine.Netstat{Metadata: md, Connectrecord: []*machine.ConnectRecord{
			{
				L4Proto: "tcp", Localip: "0.0.0.0", Localport: 50000, Remoteip: "0.0.0.0", State: machine.ConnectRecord_LISTEN, Inode: 4711, Uid: 50,
				Process: &machine.ConnectRecord_Process{Pid: 7, Name: fmt.Sprintf("gateway %s %s", req.GetFilter(), strings.Join(strings.Fields(req.GetL4Proto().String()), " "))},
			},
			{L4Proto: "tcp6", Localip: "fd00::1", Localport: 50000, Remoteip: "fd00::2", Remoteport: 4242, State: machine.ConnectRecord_CLOSEWAIT, Txqueue: 12, Tr: machine.ConnectRecord_KEEPALIVE, Timerwhen: 150, Retrnsmt: 1},
			{L4Proto: "udp", Localip: "10.0.0.1", Localport: 53, Remoteip: "0.0.0.0", State: machine.ConnectRecord_CLOSE, Rxqueue: 3, Process: &machine.ConnectRecord_Process{}},
		}}
	})}, nil
}

func (f *fake) PacketCapture(req *machine.PacketCaptureRequest, stream grpc.ServerStreamingServer[common.Data]) error {
	if req.GetInterface() != "eth0" {
		return status.Errorf(codes.NotFound, "no link %q: `get links` lists them", req.GetInterface())
	}
	for chunk := range slices.Chunk(recorded(ipv4(1, 8, 0)), 7) {
		if err := stream.Send(&common.Data{Bytes: chunk}); err != nil {
			return err
		}
	}

	return nil
}

func (f *fake) Restart(ctx context.Context, req *machine.RestartRequest) (*machine.RestartResponse, error) {
	if req.GetNamespace() != "system" || req.GetId() != "networkd" {
		return nil, status.Errorf(codes.NotFound, "no service %q here: `service` lists them", req.GetId())
	}

	return &machine.RestartResponse{Messages: each(ctx, func(md *common.Metadata) *machine.Restart { return &machine.Restart{Metadata: md} })}, nil
}

type fakeInspect struct {
	inspect.UnimplementedInspectServiceServer
}

func (fakeInspect) ControllerRuntimeDependencies(ctx context.Context, _ *emptypb.Empty) (*inspect.ControllerRuntimeDependenciesResponse, error) {
	edge := func(controller, typ string, kind inspect.DependencyEdgeType) *inspect.ControllerDependencyEdge {
		return &inspect.ControllerDependencyEdge{ControllerName: controller, ResourceType: typ, EdgeType: kind}
	}

	return &inspect.ControllerRuntimeDependenciesResponse{Messages: each(ctx, func(md *common.Metadata) *inspect.ControllerRuntimeDependency {
		return &inspect.ControllerRuntimeDependency{Metadata: md, Edges: []*inspect.ControllerDependencyEdge{
			edge("configd", "MachineConfigs.config.talos.dev", inspect.DependencyEdgeType_OUTPUT_EXCLUSIVE),
			edge("networkd.Configure", "MachineConfigs.config.talos.dev", inspect.DependencyEdgeType_INPUT_WEAK),
			edge("networkd.Configure", "LinkSpecs.net.talos.dev", inspect.DependencyEdgeType_OUTPUT_SHARED),
			edge("networkd.Observe", "LinkSpecs.net.talos.dev", inspect.DependencyEdgeType_INPUT_STRONG),
		}}
	})}, nil
}

func (f *fake) Events(_ *machine.EventsRequest, stream grpc.ServerStreamingServer[machine.Event]) error {
	payload, err := anypb.New(&machine.ServiceStateEvent{Service: "etcd", Action: machine.ServiceStateEvent_RUNNING, Message: "Started"})
	if err != nil {
		return err
	}
	payload.TypeUrl = "talos/runtime/machine.ServiceStateEvent"

	return stream.Send(&machine.Event{Id: "cdo4qgu1cv9e", Data: payload, ActorId: "boot"})
}

func (f *fake) EtcdStatus(ctx context.Context, _ *emptypb.Empty) (*machine.EtcdStatusResponse, error) {
	return &machine.EtcdStatusResponse{Messages: each(ctx, func(md *common.Metadata) *machine.EtcdStatus {
		return &machine.EtcdStatus{Metadata: md, MemberStatus: &machine.EtcdMemberStatus{
			MemberId: 0xecebb05b59a776f1, Leader: 0xecebb05b59a776f1, DbSize: 20631552, DbSizeInUse: 6000000, RaftIndex: 53391, RaftTerm: 4, RaftAppliedIndex: 53391,
		}}
	})}, nil
}

// states holds the resources of the fake node.
func states(t *testing.T, documents string) state.CoreState {
	t.Helper()
	if err := resources.Register(); err != nil {
		t.Fatal(err)
	}
	st := state.WrapCore(namespaced.NewState(inmem.Build))
	create := func(r resource.Resource) {
		t.Helper()
		if err := st.Create(t.Context(), r); err != nil {
			t.Fatal(err)
		}
	}
	for _, d := range resources.Definitions() {
		rd, err := meta.NewResourceDefinition(d.Spec())
		if err != nil {
			t.Fatal(err)
		}
		create(rd)
	}
	for i, name := range []string{"eth0", "lo"} {
		link := network.NewLinkStatus(network.NamespaceName, name)
		*link.TypedSpec() = network.LinkStatusSpec{
			Index: uint32(i), Type: enums.LinkTypeEther, LinkState: true, OperationalState: enums.OperationalStateUp,
			HardwareAddr: enums.HardwareAddr{2, 0, 10, 5, 0, byte(i)},
		}
		create(link)
	}
	node := network.NewNodeAddress(network.NamespaceName, "current")
	node.TypedSpec().Addresses = []netip.Prefix{netip.MustParsePrefix("10.0.0.1/24"), netip.MustParsePrefix("fd00::1/64")}
	create(node)
	mc := config.NewMachineConfig(config.NamespaceName, config.ActiveID)
	mc.TypedSpec().Data = []byte(machineConfig + documents)
	create(mc)
	kind := config.NewMachineType(config.NamespaceName, config.MachineTypeID)
	kind.TypedSpec().Value = enums.MachineTypeWorker
	create(kind)
	stage := runtime.NewMachineStatus(runtime.NamespaceName, runtime.MachineStatusID)
	stage.TypedSpec().Stage = enums.MachineStageRunning
	create(stage)
	for name, version := range map[string]string{"diskd": "v1.8.0 abcdef1", "etcd": "", "networkd": "v1.9.0-mine 1234567"} {
		service := v1alpha1.NewService(v1alpha1.NamespaceName, name)
		if version != "" {
			service.Metadata().Annotations().Set(v1alpha1.AnnotationVersion, version)
		}
		create(service)
	}

	return st
}

// start serves the fake over real mTLS and writes a client configuration for
// it into a home directory of its own.
func start(t *testing.T, f *fake) {
	t.Helper()
	now := time.Now().Add(-time.Minute)
	ca := must(pki.NewCA(pki.Ed25519, pki.Subject{Organization: []string{"test"}, NotBefore: now, TTL: time.Hour}))(t)
	serverPair := must(pki.Issue(ca, pki.Ed25519, pki.Subject{
		Addresses: []netip.Addr{netip.MustParseAddr("127.0.0.1")}, Usages: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}, NotBefore: now, TTL: time.Hour,
	}))(t)
	admin := must(pki.Issue(ca, pki.Ed25519, pki.Subject{
		Organization: []string{"os:admin"}, Usages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}, NotBefore: now, TTL: time.Hour,
	}))(t)
	pair := must(tls.X509KeyPair(serverPair.Crt, serverPair.Key))(t)
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(ca.Crt)
	l := must(net.Listen("tcp", "127.0.0.1:0"))(t)
	s := grpc.NewServer(grpc.UnaryInterceptor(f.unary), grpc.StreamInterceptor(f.stream), grpc.Creds(credentials.NewTLS(&tls.Config{
		Certificates: []tls.Certificate{pair}, ClientCAs: pool, ClientAuth: tls.RequireAndVerifyClientCert, MinVersion: tls.VersionTLS13,
	})))
	machine.RegisterMachineServiceServer(s, f)
	storage.RegisterStorageServiceServer(s, f)
	inspect.RegisterInspectServiceServer(s, fakeInspect{})
	timeapi.RegisterTimeServiceServer(s, timeapi.UnimplementedTimeServiceServer{})
	cosiapi.RegisterStateServer(s, server.NewState(states(t, f.documents)))
	go s.Serve(l) //nolint:errcheck // it ends with the test
	t.Cleanup(s.Stop)
	file := &clientconfig.Config{Context: "test", Contexts: map[string]*clientconfig.Context{
		"test": clientconfig.NewContext([]string{l.Addr().String()}, ca.Crt, admin.Crt, admin.Key),
	}}
	if err := file.Write(filepath.Join(home(t), ".dactyl", "config")); err != nil {
		t.Fatal(err)
	}
}

// home gives the test a home directory without any client configuration.
func home(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	t.Setenv("HOME", dir)
	t.Setenv("DACTYLCONFIG", "")
	t.Setenv("TALOSCONFIG", "")
	t.Setenv("EDITOR", "")
	t.Setenv("TALOS_EDITOR", "")

	return dir
}

func must[T any](v T, err error) func(*testing.T) T {
	return func(t *testing.T) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}

		return v
	}
}

// session runs a command and renders it as a shell session.
func session(t *testing.T, args ...string) string {
	t.Helper()
	var out, errOut bytes.Buffer
	code := run(args, strings.NewReader(""), &out, &errOut)
	text := "$ dactylctl " + strings.Join(args, " ") + "\n" + out.String()
	if errOut.Len() > 0 {
		text += "--- stderr\n" + errOut.String()
	}
	if code != 0 {
		text += fmt.Sprintf("(exit code %d)\n", code)
	}
	if dir := os.Getenv("HOME"); dir != "" {
		text = strings.ReplaceAll(text, dir, "~")
	}

	return text
}
