package gateway_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/cosi-project/runtime/api/v1alpha1"
	"golang.org/x/sys/unix"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/protobuf/types/known/emptypb"

	"github.com/dactyl-os/dactyl/proto/common"
	"github.com/dactyl-os/dactyl/proto/machine"
	"github.com/dactyl-os/dactyl/proto/resource"
	"github.com/dactyl-os/dactyl/proto/resource/network"
	v1alpha1res "github.com/dactyl-os/dactyl/proto/resource/v1alpha1"
	"github.com/dactyl-os/dactyl/services/gateway/internal/fake"
	"github.com/dactyl-os/dactyl/services/kit/access"
	"github.com/dactyl-os/dactyl/services/kit/daemon"
)

// The test binary runs itself again as small daemons built on the kit: init for Version, networkd for resources, trustd
// for certificates.
const benchVariable = "GATEWAY_BENCH_DAEMON"

const benchItems = 135

// benchTime is how long each measurement takes.
func benchTime() time.Duration {
	if own, err := time.ParseDuration(os.Getenv("GATEWAY_BENCH_TIME")); err == nil {
		return own
	}

	return 3 * time.Second
}

func serveBench() int {
	name := os.Getenv(benchVariable)

	if err := resource.Register(); err != nil {
		return 1
	}

	return daemon.Main(name, func(env *daemon.Env) error {
		switch name {
		case "init":
			daemon.LimitMemory(initLimit)

			if err := publishServices(env); err != nil {
				return err
			}

			machine.RegisterMachineServiceServer(env.Server(), versionServer{})

			return nil
		case "hostd":
			machine.RegisterMachineServiceServer(env.Server(), versionServer{})

			return nil
		case "trustd":
			return publishFrom(env, os.Getenv(certificatesVariable))
		default:
			return publishItems(env)
		}
	})
}

// initLimit is what services/init sets.
const initLimit = 20 << 20

// Read sends readSize bytes in pieces as hostd does.
func (versionServer) Read(_ *machine.ReadRequest, stream grpc.ServerStreamingServer[common.Data]) error {
	piece := &common.Data{Bytes: make([]byte, readPiece)}

	for range readSize / readPiece {
		if err := stream.Send(piece); err != nil {
			return err
		}
	}

	return nil
}

const (
	readSize  = 500 << 20
	readPiece = 64 << 10
)

// read takes a whole file and gives its speed in MB/s.
func read(ctx context.Context, conn *grpc.ClientConn) (float64, error) {
	begin := time.Now()

	stream, err := machine.NewMachineServiceClient(conn).Read(ctx, &machine.ReadRequest{Path: "/file"})
	if err != nil {
		return 0, err
	}

	for size := 0; ; {
		piece, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return float64(size) / 1e6 / time.Since(begin).Seconds(), nil
		}

		if err != nil {
			return 0, err
		}

		size += len(piece.GetBytes())
	}
}

// BenchmarkRead compares a file of 500 MB through the gateway with the same straight from its daemon's socket, in turn.
func BenchmarkRead(b *testing.B) {
	authority := fake.NewAuthority(b)
	n := benchNode(b, authority, "127.0.0.2", "0")
	admin := n.client(b, authority, access.Admin)
	await(b, 10*time.Second, func() error { return version(within(b, time.Second), admin) })

	var speeds [2][]float64

	for range 5 {
		for i, conn := range []*grpc.ClientConn{socket(b, n, "hostd"), admin} {
			speed, err := read(within(b, time.Minute), conn)
			if err != nil {
				b.Fatal(err)
			}

			speeds[i] = append(speeds[i], speed)
		}
	}

	for i := range speeds {
		slices.Sort(speeds[i])
	}

	direct, through := speeds[0][len(speeds[0])/2], speeds[1][len(speeds[1])/2]
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(direct, "direct-MB/s")
	b.ReportMetric(through, "through-MB/s")
	b.ReportMetric(through/direct, "ratio")
}

func publishServices(env *daemon.Env) error {
	for i := range 16 {
		if err := env.Local().Create(context.Background(), v1alpha1res.NewService("runtime", fmt.Sprintf("service-%d", i))); err != nil {
			return err
		}
	}

	return nil
}

func publishItems(env *daemon.Env) error {
	for i := range benchItems {
		res := network.NewAddressStatus("network", fmt.Sprintf("eth0/10.5.%d.1/24", i))
		res.TypedSpec().LinkName = "eth0"

		if err := env.Local().Create(context.Background(), res); err != nil {
			return err
		}
	}

	return nil
}

type versionServer struct {
	machine.UnimplementedMachineServiceServer
}

func (versionServer) Version(context.Context, *emptypb.Empty) (*machine.VersionResponse, error) {
	return &machine.VersionResponse{Messages: []*machine.Version{{
		Version:  &machine.VersionInfo{Tag: "v1.8.4", Sha: "abcdef0", Built: "", GoVersion: "go1.26", Os: "linux", Arch: "amd64"},
		Platform: &machine.PlatformInfo{Name: "container", Mode: "container"},
		Features: &machine.FeaturesInfo{Rbac: true},
	}}}, nil
}

func benchNode(b *testing.B, authority *fake.Authority, address, port string) *node {
	b.Helper()

	n := newNode(b, address, port)
	fake.PublishConfig(b, n.configd)
	fake.PublishAPI(b, n.trustd, authority.Server(b, address), authority.Client(b, access.Impersonator), authority)

	for _, name := range []string{"init", "networkd", "hostd"} {
		start(b, exec.Command(os.Args[0], "--run-dir", n.runDir, "--state-dir", b.TempDir()), benchVariable+"="+name)
	}

	n.startGateway(b)

	return n
}

func socket(b testing.TB, n *node, owner string) *grpc.ClientConn {
	b.Helper()

	conn, err := grpc.NewClient("unix:"+n.runDir+"/"+owner+".sock", grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		b.Fatal(err)
	}

	b.Cleanup(func() { _ = conn.Close() })

	return conn
}

// BenchmarkGateway compares each path with the same call straight to the daemon's socket.
func BenchmarkGateway(b *testing.B) {
	authority := fake.NewAuthority(b)
	first := benchNode(b, authority, "127.0.0.2", "0")
	second := benchNode(b, authority, "127.0.0.3", first.port())
	admin := first.client(b, authority, access.Admin)

	for _, n := range []*node{first, second} {
		conn := n.client(b, authority, access.Admin)
		await(b, 10*time.Second, func() error { return version(within(b, time.Second), conn) })
	}

	for _, path := range []struct {
		name  string
		conn  *grpc.ClientConn
		pairs []string
	}{
		{"direct", socket(b, first, "init"), nil},
		{"local", admin, nil},
		{"self", admin, []string{"nodes", "127.0.0.2"}},
		{"node", admin, []string{"nodes", "127.0.0.3"}},
	} {
		ctx := within(b, time.Hour, path.pairs...)
		call := func() error { return version(ctx, path.conn) }

		b.Run("Version/1/"+path.name, func(b *testing.B) { measure(b, first, 1, call) })
		b.Run("Version/16/"+path.name, func(b *testing.B) { measure(b, first, 16, call) })
	}

	b.Run("Version/16/local-16-connections", func(b *testing.B) {
		conns := make(chan *grpc.ClientConn, 16)
		for range cap(conns) {
			conns <- first.client(b, authority, access.Admin)
		}

		measure(b, first, cap(conns), func() error {
			conn := <-conns
			defer func() { conns <- conn }()

			return version(within(b, time.Minute), conn)
		})
	})

	for _, path := range []struct {
		name string
		conn *grpc.ClientConn
	}{{"direct", socket(b, first, "networkd")}, {"local", admin}} {
		client := v1alpha1.NewStateClient(path.conn)
		ctx := within(b, time.Hour)

		b.Run("Get/"+path.name, func(b *testing.B) {
			measure(b, first, 1, func() error {
				_, err := client.Get(ctx, &v1alpha1.GetRequest{Namespace: "network", Type: network.AddressStatusType, Id: "eth0/10.5.7.1/24"})

				return err
			})
		})
		b.Run("List/"+path.name, func(b *testing.B) { measure(b, first, 1, func() error { return list(ctx, client) }) })
	}
}

func list(ctx context.Context, client v1alpha1.StateClient) error {
	stream, err := client.List(ctx, &v1alpha1.ListRequest{Namespace: "network", Type: network.AddressStatusType})
	if err != nil {
		return err
	}

	for count := 0; ; count++ {
		_, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			if count != benchItems {
				return fmt.Errorf("got %d items", count)
			}

			return nil
		}

		if err != nil {
			return err
		}
	}
}

// measure runs callers side by side for a fixed time and reports calls/s, p50, p99 and the processor time that each call
// costs the first gateway and the client: those two tell something even on a busy machine.
func measure(b *testing.B, n *node, callers int, call func() error) {
	b.Helper()

	var (
		group  sync.WaitGroup
		mu     sync.Mutex
		all    []time.Duration
		failed error
	)

	begin, duration := time.Now(), benchTime()
	own, gateway := processor(b, os.Getpid()), processor(b, n.gateway.cmd.Process.Pid)

	for range callers {
		group.Go(func() {
			var own []time.Duration

			for time.Since(begin) < duration {
				start := time.Now()

				if err := call(); err != nil {
					failed = err

					break
				}

				own = append(own, time.Since(start))
			}

			mu.Lock()
			all = append(all, own...)
			mu.Unlock()
		})
	}

	group.Wait()

	if failed != nil || len(all) == 0 {
		b.Fatal(failed)
	}

	calls := time.Duration(len(all))
	own, gateway = processor(b, os.Getpid())-own, processor(b, n.gateway.cmd.Process.Pid)-gateway

	slices.Sort(all)
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(float64(len(all))/duration.Seconds(), "calls/s")
	b.ReportMetric(float64(all[len(all)/2].Microseconds()), "p50-µs")
	b.ReportMetric(float64(all[len(all)*99/100].Microseconds()), "p99-µs")
	b.ReportMetric(float64((own / calls).Microseconds()), "client-µs")
	b.ReportMetric(float64((gateway / calls).Microseconds()), "gateway-µs")
}

// processor gives the processor time that a process has used.
func processor(b *testing.B, pid int) time.Duration {
	b.Helper()

	var clock unix.Timespec

	// The clock of another process has its complemented number above the bits that tell its kind (clock_getcpuclockid).
	if err := unix.ClockGettime(int32(^pid<<3|2), &clock); err != nil {
		b.Fatal(err)
	}

	return time.Duration(clock.Nano())
}
