package e2e

import (
	"archive/tar"
	"compress/gzip"
	"context"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	cosi "github.com/cosi-project/runtime/api/v1alpha1"
	"github.com/cosi-project/runtime/pkg/resource"
	"github.com/cosi-project/runtime/pkg/state"
	statewire "github.com/cosi-project/runtime/pkg/state/protobuf/client"
	"go.yaml.in/yaml/v4"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/emptypb"

	"github.com/dactyl-os/dactyl/proto/cluster"
	"github.com/dactyl-os/dactyl/proto/common"
	"github.com/dactyl-os/dactyl/proto/inspect"
	"github.com/dactyl-os/dactyl/proto/machine"
	"github.com/dactyl-os/dactyl/tools/internal/outside"
)

// TestContract asks a worker through a control plane what clients of the contract rely on, with the public modules that they are
// made of: grpc, yaml and the client of cosi-project/runtime. What they do with an answer is done here, too.
func TestContract(t *testing.T) {
	conn := dial(t, controlPlanes[0], false)

	for name, ask := range map[string]func(*testing.T, context.Context, *grpc.ClientConn){
		"the configuration is edited as documents":  configurationIsDocuments,
		"a directory is unpacked":                   directoryIsUnpacked,
		"types that nobody owns are empty":          unownedTypesAreEmpty,
		"an unknown log ends in was not registered": unknownLog,
		"every socket has a process":                everySocketHasAProcess,
		"a unit's pod is itself":                    podIsItself,
		"health is told by the node":                healthIsTold,
		"the graph of controllers":                  graphOfControllers,
		"a container of the system restarts":        containerRestarts,
		"tables have their columns":                 tablesHaveColumns,
		"a service event is one line":               eventsAreLines,
		"a version is not older":                    versionIsNotOlder,
	} {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(outside.Node(t.Context(), worker), time.Minute)
			defer cancel()

			ask(t, ctx, conn)
		})
	}
}

// generic reads a resource as a client that does not know its type.
func generic(t *testing.T, ctx context.Context, conn *grpc.ClientConn, namespace, typ, id string) map[string]any {
	t.Helper()

	client := state.WrapCore(statewire.NewAdapter(cosi.NewStateClient(conn)))

	r, err := client.Get(ctx, resource.NewMetadata(namespace, typ, id, resource.VersionUndefined), state.WithGetUnmarshalOptions(state.WithSkipProtobufUnmarshal()))
	if err != nil {
		t.Fatal(err)
	}

	form, err := resource.MarshalYAML(r)
	if err != nil {
		t.Fatal(err)
	}

	text, err := yaml.Marshal(form)
	if err != nil {
		t.Fatal(err)
	}

	var read map[string]any
	if err := yaml.Unmarshal(text, &read); err != nil {
		t.Fatalf("%v:\n%s", err, text)
	}

	return read
}

func configurationIsDocuments(t *testing.T, ctx context.Context, conn *grpc.ClientConn) {
	spec, isMapping := generic(t, ctx, conn, "config", "MachineConfigs.config.talos.dev", "v1alpha1")["spec"].(map[string]any)
	if !isMapping || spec["version"] != "v1alpha1" || spec["machine"] == nil {
		t.Errorf("the spec is %T %v", spec, spec)
	}
}

func directoryIsUnpacked(t *testing.T, ctx context.Context, conn *grpc.ClientConn) {
	stream, err := machine.NewMachineServiceClient(conn).Copy(ctx, &machine.CopyRequest{RootPath: "/etc"})
	if err != nil {
		t.Fatal(err)
	}

	read, write := io.Pipe()

	go func() {
		for {
			chunk, err := stream.Recv()
			if err != nil {
				write.CloseWithError(err)

				return
			}

			if _, err := write.Write(chunk.GetBytes()); err != nil {
				return
			}
		}
	}()

	zip, err := gzip.NewReader(read)
	if err != nil {
		t.Fatal(err)
	}

	made := map[string]bool{".": true}

	for archive := tar.NewReader(zip); ; {
		h, err := archive.Next()
		if errors.Is(err, io.EOF) {
			break
		}

		if err != nil {
			t.Fatal(err)
		}

		// Clients make each directory by mkdir, below one that they have made.
		name := strings.TrimSuffix(h.Name, "/")
		parent := "."

		if at := strings.LastIndexByte(name, '/'); at >= 0 {
			parent = name[:at]
		}

		if made[name] || !made[parent] {
			t.Errorf("entry %q: made before, or its directory was not", h.Name)
		}

		made[name] = made[name] || h.Typeflag == tar.TypeDir
	}

	if len(made) < 2 {
		t.Errorf("only %v", made)
	}
}

func unownedTypesAreEmpty(t *testing.T, ctx context.Context, conn *grpc.ClientConn) {
	client := cosi.NewStateClient(conn)

	for _, typ := range []string{"KubeletSpecs.kubernetes.talos.dev", "StaticPodStatuses.kubernetes.talos.dev", "ExtensionStatuses.runtime.talos.dev"} {
		list, err := client.List(ctx, &cosi.ListRequest{Namespace: "k8s", Type: typ})
		if err != nil {
			t.Fatal(err)
		}

		if _, err := list.Recv(); !errors.Is(err, io.EOF) {
			t.Errorf("a list of %s ends with %v", typ, err)
		}

		if _, err := client.Get(ctx, &cosi.GetRequest{Namespace: "k8s", Type: typ, Id: "x"}); status.Code(err) != codes.NotFound {
			t.Errorf("one of %s: %v", typ, err)
		}
	}
}

func unknownLog(t *testing.T, ctx context.Context, conn *grpc.ClientConn) {
	stream, err := machine.NewMachineServiceClient(conn).Logs(ctx, &machine.LogsRequest{Namespace: "system", Id: "nosuch", Driver: common.ContainerDriver_CONTAINERD})
	if err == nil {
		_, err = stream.Recv()
	}

	if !strings.HasSuffix(status.Convert(err).Message(), `log "nosuch" was not registered`) {
		t.Errorf("%v", err)
	}
}

func everySocketHasAProcess(t *testing.T, ctx context.Context, conn *grpc.ClientConn) {
	answer, err := machine.NewMachineServiceClient(conn).Netstat(ctx, &machine.NetstatRequest{Feature: &machine.NetstatRequest_Feature{Pid: true}})
	if err != nil {
		t.Fatal(err)
	}

	for _, m := range answer.GetMessages() {
		for _, r := range m.GetConnectrecord() {
			if r.Process == nil {
				t.Errorf("%v has none: clients read its fields without a look", r)
			}
		}
	}
}

func podIsItself(t *testing.T, ctx context.Context, conn *grpc.ClientConn) {
	answer, err := machine.NewMachineServiceClient(conn).Stats(ctx, &machine.StatsRequest{Namespace: "system", Driver: common.ContainerDriver_CONTAINERD})
	if err != nil {
		t.Fatal(err)
	}

	for _, m := range answer.GetMessages() {
		for _, s := range m.GetStats() {
			if s.GetPodId() != s.GetId() {
				t.Errorf("%s is drawn as a container of pod %q", s.GetId(), s.GetPodId())
			}
		}
	}
}

func healthIsTold(t *testing.T, ctx context.Context, conn *grpc.ClientConn) {
	stream, err := cluster.NewClusterServiceClient(conn).HealthCheck(ctx, &cluster.HealthCheckRequest{
		WaitTimeout: durationpb.New(50 * time.Second), ClusterInfo: &cluster.ClusterInfo{ControlPlaneNodes: controlPlanes, WorkerNodes: []string{worker}},
	})
	if err != nil {
		t.Fatal(err)
	}

	var said []string

	for {
		m, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			break
		}

		if err != nil {
			t.Fatalf("after %q: %v", said, err)
		}

		said = append(said, m.GetMessage())
	}

	if len(said) < 3 || !strings.HasSuffix(said[len(said)-1], ": OK") {
		t.Errorf("said %q", said)
	}
}

func graphOfControllers(t *testing.T, ctx context.Context, conn *grpc.ClientConn) {
	answer, err := inspect.NewInspectServiceClient(conn).ControllerRuntimeDependencies(ctx, &emptypb.Empty{})
	if err != nil {
		t.Fatal(err)
	}

	edges := answer.GetMessages()[0].GetEdges()
	for _, kind := range []inspect.DependencyEdgeType{inspect.DependencyEdgeType_OUTPUT_EXCLUSIVE, inspect.DependencyEdgeType_INPUT_WEAK} {
		if !slices.ContainsFunc(edges, func(e *inspect.ControllerDependencyEdge) bool {
			return e.GetEdgeType() == kind && e.GetResourceType() != ""
		}) {
			t.Errorf("no %s among %d edges", kind, len(edges))
		}
	}
}

func containerRestarts(t *testing.T, ctx context.Context, conn *grpc.ClientConn) {
	client := machine.NewMachineServiceClient(conn)

	if answer, err := client.Restart(ctx, &machine.RestartRequest{Namespace: "system", Id: "timed"}); err != nil || len(answer.GetMessages()) != 1 {
		t.Errorf("%v, %v", answer, err)
	}

	if _, err := client.Restart(ctx, &machine.RestartRequest{Namespace: "k8s.io", Id: "x", Driver: common.ContainerDriver_CRI}); status.Code(err) != codes.NotFound {
		t.Errorf("%v", err)
	}
}

func tablesHaveColumns(t *testing.T, ctx context.Context, conn *grpc.ClientConn) {
	for typ, want := range map[string]string{
		"members.cluster.talos.dev": "Hostname, Machine Type, OS, Addresses", "addressstatuses.net.talos.dev": "Address, Link",
		"services.v1alpha1.talos.dev": "Running, Healthy, Health Unknown", "machinestatuses.runtime.talos.dev": "Stage, Ready",
		"hostnamestatuses.net.talos.dev": "Hostname, Domainname",
	} {
		spec, _ := generic(t, ctx, conn, "meta", "ResourceDefinitions.meta.cosi.dev", typ)["spec"].(map[string]any)
		columns, _ := spec["printColumns"].([]any)

		var names []string
		for _, c := range columns {
			column, _ := c.(map[string]any)
			name, _ := column["name"].(string)
			names = append(names, name)
		}

		if got := strings.Join(names, ", "); got != want {
			t.Errorf("%s has the columns %s, want %s", typ, got, want)
		}
	}
}

func eventsAreLines(t *testing.T, ctx context.Context, conn *grpc.ClientConn) {
	answer, err := machine.NewMachineServiceClient(conn).ServiceList(ctx, &emptypb.Empty{})
	if err != nil {
		t.Fatal(err)
	}

	for _, s := range answer.GetMessages()[0].GetServices() {
		for _, e := range s.GetEvents().GetEvents() {
			if strings.ContainsAny(e.GetMsg(), "\r\n") {
				t.Errorf("%s: %q breaks the table of clients", s.GetId(), e.GetMsg())
			}
		}
	}
}

func versionIsNotOlder(t *testing.T, ctx context.Context, conn *grpc.ClientConn) {
	answer, err := machine.NewMachineServiceClient(conn).Version(ctx, &emptypb.Empty{})
	if err != nil {
		t.Fatal(err)
	}

	// A pre-release ("-") would sort before v1.8.4, build metadata ("+") does not.
	if tag := answer.GetMessages()[0].GetVersion().GetTag(); !strings.HasPrefix(tag, "v1.8.4+") {
		t.Errorf("the node says %s", tag)
	}
}
