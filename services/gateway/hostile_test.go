package gateway_test

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cosi-project/runtime/api/v1alpha1"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protowire"

	"github.com/dactyl-os/dactyl/proto/machine"
	"github.com/dactyl-os/dactyl/proto/resource/network"
	v1alpha1res "github.com/dactyl-os/dactyl/proto/resource/v1alpha1"
	"github.com/dactyl-os/dactyl/services/gateway/internal/fake"
	"github.com/dactyl-os/dactyl/services/gateway/internal/raw"
	"github.com/dactyl-os/dactyl/services/kit/access"
)

// What hostile input may add to a process, and when it is given back.
const (
	gatewayGrowth = 64 << 20
	initGrowth    = 16 << 20
	// Every daemon lets a burst allocate 16 MB before its garbage is collected.
	ownerGrowth   = 32 << 20
	settledGrowth = 8 << 20
	givenBack     = 2 * time.Minute
	// stay is how long what was opened stays open.
	stay = 2 * time.Second
)

// hostile is a node under attack by somebody who may read.
type hostile struct {
	*node

	reader, admin tls.Certificate
	roots         *tls.Config
}

// TestHostileReader attacks a node as os:reader, while somebody else works with it.
func TestHostileReader(t *testing.T) {
	if testing.Short() {
		t.Skip("takes two minutes")
	}

	authority := fake.NewAuthority(t)
	n := newNode(t, "127.0.0.2", "0")
	fake.PublishConfig(t, n.configd)
	fake.PublishAPI(t, n.trustd, authority.Server(t, n.address), authority.Client(t, access.Impersonator), authority)

	owners := map[string]int{}
	for _, name := range []string{"init", "networkd", "hostd"} {
		owners[name] = start(t, exec.Command(os.Args[0], "--run-dir", n.runDir, "--state-dir", t.TempDir()), benchVariable+"="+name).cmd.Process.Pid
	}

	n.startGateway(t)

	h := &hostile{node: n, reader: authority.Client(t, access.Reader).TLS(t), admin: authority.Client(t, access.Admin).TLS(t), roots: &tls.Config{RootCAs: authority.Pool(), ServerName: n.address}}
	good := n.client(t, authority, access.Reader)
	await(t, 10*time.Second, func() error { return version(within(t, time.Second), good) })
	await(t, 10*time.Second, func() error { return list(within(t, time.Second), v1alpha1.NewStateClient(good)) })
	await(t, 10*time.Second, func() error { return version(within(t, time.Second), socket(t, n, "hostd")) })

	processes := map[string]*size{
		"gateway": newSize(t, n.gateway.cmd.Process.Pid, gatewayGrowth),
		"init":    newSize(t, owners["init"], initGrowth), "networkd": newSize(t, owners["networkd"], ownerGrowth),
	}

	for _, attack := range []struct {
		name string
		run  func(t *testing.T, ctx context.Context)
	}{
		{"40 callers with 30 MB", h.largeRequests},
		{"10,000 watches", h.manyWatches},
		{"128 files that nobody reads", h.unreadFiles},
		{"2,000 silent connections", h.silentConnections},
		{"5,000 targets", h.manyTargets},
	} {
		t.Run(attack.name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()

			other := watchOver(t, ctx, good, processes)
			attack.run(t, ctx)
			pause(ctx, stay)
			other.check(t, processes)
		})
	}

	end := time.Now()

	for name, process := range processes {
		await(t, givenBack-time.Since(end), func() error {
			if now := pss(t, process.pid); now > process.before+settledGrowth {
				return fmt.Errorf("%s has %d KiB, %d before", name, now>>10, process.before>>10)
			}

			return nil
		})
		t.Logf("%s: %d KiB before, %d after %s", name, process.before>>10, pss(t, process.pid)>>10, time.Since(end).Round(time.Second))
	}
}

// connect makes a connection of its own with the attacker's certificate.
func (h *hostile) connect(t *testing.T, who tls.Certificate, options ...grpc.DialOption) *grpc.ClientConn {
	t.Helper()

	config := h.roots.Clone()
	config.Certificates = []tls.Certificate{who}

	conn, err := grpc.NewClient("passthrough:///"+h.listener.Addr().String(),
		append(options, grpc.WithTransportCredentials(credentials.NewTLS(config)))...)
	if err != nil {
		t.Fatal(err)
	}

	t.Cleanup(func() { _ = conn.Close() })

	return conn
}

func (h *hostile) largeRequests(t *testing.T, ctx context.Context) {
	// A field that Empty does not have.
	padding := protowire.AppendBytes(protowire.AppendTag(nil, 15, protowire.BytesType), make([]byte, 30<<20))

	var group sync.WaitGroup

	for range 40 {
		conn := h.connect(t, h.reader)

		group.Go(func() {
			err := conn.Invoke(ctx, "/machine.MachineService/Version", raw.FromBytes(padding), new(raw.Frame), grpc.ForceCodecV2(raw.Codec{}))
			if status.Code(err) != codes.ResourceExhausted {
				t.Errorf("30 MB are answered with %v", err)
			}
		})
	}

	group.Wait()
}

func (h *hostile) manyWatches(t *testing.T, ctx context.Context) {
	var (
		group             sync.WaitGroup
		accepted, refused atomic.Int32
	)

	for range 100 {
		client := v1alpha1.NewStateClient(h.connect(t, h.reader))

		group.Go(func() {
			for i := range 100 {
				request := &v1alpha1.WatchRequest{
					Namespace: "network", Type: network.AddressStatusType,
					Options: &v1alpha1.WatchOptions{BootstrapContents: true}, ApiVersion: 1,
				}

				// Half of them at init.
				if i%2 == 0 {
					request.Namespace, request.Type = "runtime", v1alpha1res.ServiceType
				}

				stream, err := client.Watch(ctx, request)
				if err == nil {
					_, err = stream.Recv() // and nothing after it
				}

				switch status.Code(err) {
				case codes.OK:
					accepted.Add(1)
				case codes.ResourceExhausted, codes.Unavailable:
					refused.Add(1)
				default:
					t.Errorf("a watch too many is answered with %v", err)
				}
			}
		})
	}

	group.Wait()
	t.Logf("%d watches are served, %d refused", accepted.Load(), refused.Load())

	if accepted.Load() == 0 || refused.Load() == 0 {
		t.Error("want some served and most refused")
	}
}

// unreadFiles opens files of 500 MB and leaves them, with windows as large as they can be; after that it reads one.
func (h *hostile) unreadFiles(t *testing.T, ctx context.Context) {
	open, leave := context.WithCancel(ctx)
	defer leave()

	var conns []*grpc.ClientConn

	for range 4 {
		conn := h.connect(t, h.admin, grpc.WithInitialConnWindowSize(1<<30))
		conns = append(conns, conn)

		for range 32 {
			stream, err := machine.NewMachineServiceClient(conn).Read(open, &machine.ReadRequest{Path: "/file"})
			if err != nil {
				t.Fatal(err)
			}

			if _, err := stream.Header(); err != nil && status.Code(err) != codes.ResourceExhausted {
				t.Errorf("a file too many is answered with %v", err)
			}
		}
	}

	pause(ctx, stay)

	// Half of them end with their streams, half with their connections.
	leave()

	for _, conn := range conns[2:] {
		_ = conn.Close()
	}

	await(t, 10*time.Second, func() error {
		_, err := read(ctx, conns[0])

		return err
	})
}

func (h *hostile) silentConnections(t *testing.T, ctx context.Context) {
	for range 2000 {
		conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", h.listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}

		t.Cleanup(func() { _ = conn.Close() })
	}

	// Others work while they are open.
	if err := version(within(t, 10*time.Second), h.connect(t, h.reader)); err != nil {
		t.Error(err)
	}
}

func (h *hostile) manyTargets(t *testing.T, ctx context.Context) {
	targets := make([]string, 5000)
	for i := range targets {
		targets[i] = fmt.Sprintf("127.9.%d.%d", i/250, i%250+1)
	}

	if err := version(metadataPairs(ctx, "nodes", strings.Join(targets, ",")), h.connect(t, h.reader)); err == nil {
		t.Error("5,000 targets are taken")
	}

	var group sync.WaitGroup

	// As many as are taken in one call, from ten callers at once.
	for i := range 10 {
		conn := h.connect(t, h.reader)

		group.Go(func() {
			_ = version(metadataPairs(ctx, "nodes", strings.Join(targets[i*500:(i+1)*500], ",")), conn) // taken or refused
		})
	}

	group.Wait()
}

// size is what a process has held.
type size struct {
	pid, before, growth int
	peak                atomic.Int64
}

func newSize(t *testing.T, pid, growth int) *size {
	t.Helper()

	return &size{pid: pid, before: pss(t, pid), growth: growth}
}

// pss is the proportional size of a process in bytes (proc(5), smaps_rollup).
func pss(t *testing.T, pid int) int {
	t.Helper()

	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/smaps_rollup", pid))
	if err != nil {
		t.Error(err)

		return 0
	}

	_, rest, _ := strings.Cut(string(text), "\nPss:")

	kib, err := strconv.Atoi(strings.Fields(rest)[0])
	if err != nil {
		t.Error(err)
	}

	return kib << 10
}

// bystander calls like somebody who means well.
type bystander struct {
	stop   context.CancelFunc
	group  sync.WaitGroup
	took   []time.Duration
	failed error
}

func watchOver(t *testing.T, ctx context.Context, conn *grpc.ClientConn, processes map[string]*size) *bystander {
	ctx, cancel := context.WithCancel(ctx)
	b := &bystander{stop: cancel}

	b.group.Go(func() {
		for ; ctx.Err() == nil; pause(ctx, 5*time.Millisecond) {
			begin := time.Now()

			if err := version(ctx, conn); err != nil && ctx.Err() == nil {
				b.failed = err
			}

			b.took = append(b.took, time.Since(begin))
		}
	})

	b.group.Go(func() {
		for ; ctx.Err() == nil; pause(ctx, 50*time.Millisecond) {
			for _, process := range processes {
				process.peak.Store(max(process.peak.Load(), int64(pss(t, process.pid))))
			}
		}
	})

	return b
}

func pause(ctx context.Context, duration time.Duration) {
	select {
	case <-time.After(duration):
	case <-ctx.Done():
	}
}

// check ends the calls and says what they met.
func (b *bystander) check(t *testing.T, processes map[string]*size) {
	t.Helper()

	b.stop()
	b.group.Wait()

	for name, process := range processes {
		peak := int(process.peak.Load())
		t.Logf("%s: %d KiB before, at most %d", name, process.before>>10, peak>>10)

		if peak > process.before+process.growth {
			t.Errorf("%s grew from %d to %d KiB", name, process.before>>10, peak>>10)
		}
	}

	slices.Sort(b.took)
	t.Logf("a good caller meanwhile: %d calls, p50 %s, p99 %s", len(b.took), b.took[len(b.took)/2], b.took[len(b.took)*99/100])

	if b.failed != nil {
		t.Errorf("a good caller meanwhile: %v", b.failed)
	}
}
