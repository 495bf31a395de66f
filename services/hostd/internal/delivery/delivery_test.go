package delivery

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/protobuf/types/known/anypb"

	"github.com/dactyl-os/dactyl/proto/events"
	"github.com/dactyl-os/dactyl/proto/machine"
	"github.com/dactyl-os/dactyl/services/kit/kittest"
)

// kernel is a log as /dev/kmsg: a reader that comes begins with the first record that is kept.
type kernel struct {
	t    *testing.T
	path string
	pipe *os.File
}

func newKernel(t *testing.T) *kernel {
	t.Helper()

	path := filepath.Join(t.TempDir(), "kmsg")
	if err := unix.Mkfifo(path, 0o600); err != nil {
		t.Fatal(err)
	}

	// Each write is a packet of its own, as each record is.
	pipe, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}

	if _, err := unix.FcntlInt(pipe.Fd(), unix.F_SETFL, unix.O_DIRECT); err != nil {
		t.Fatal(err)
	}

	t.Cleanup(func() { pipe.Close() })

	return &kernel{t: t, path: path, pipe: pipe}
}

func (k *kernel) say(numbers ...int) {
	k.t.Helper()

	for _, n := range numbers {
		if _, err := fmt.Fprintf(k.pipe, "4,%d,1000000,-;record %d\n", n, n); err != nil {
			k.t.Fatal(err)
		}
	}
}

// run keeps a delivery until the function is called.
func run(t *testing.T, deliver func(context.Context)) (stop func()) {
	t.Helper()

	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})

	go func() { defer close(done); deliver(ctx) }()

	stop = func() { cancel(); <-done }
	t.Cleanup(stop)

	return stop
}

func logger(t *testing.T) *slog.Logger { return slog.New(slog.NewTextHandler(t.Output(), nil)) }

// TestKernelLogOverTCP: each record is one line; a receiver and a daemon that come back get what came meanwhile.
func TestKernelLogOverTCP(t *testing.T) {
	log := newKernel(t)
	sent := filepath.Join(t.TempDir(), "sent")

	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}

	address := listener.Addr().String()
	deliver := (&Kernel{Path: log.path, Destination: &url.URL{Scheme: "tcp", Host: address}, Sent: sent, Log: logger(t)}).Run
	stop := run(t, deliver)

	conn := accept(t, listener)
	log.say(1, 2)
	receives(t, conn, 1, 2)

	// The receiver goes, and is back when a record has come.
	listener.Close()
	conn.Close()

	if listener, err = net.Listen("tcp", address); err != nil {
		t.Fatal(err)
	}
	defer listener.Close()

	conn = accept(t, listener)
	log.say(3)
	receives(t, conn, 3)

	// The daemon goes: what it has sent is not sent again, what came meanwhile is.
	stop()
	conn.Close()
	log.say(2, 3, 4, 5)
	run(t, deliver)

	conn = accept(t, listener)
	defer conn.Close()
	receives(t, conn, 4, 5)
}

func accept(t *testing.T, listener net.Listener) net.Conn {
	t.Helper()

	if err := listener.(*net.TCPListener).SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
		t.Fatal(err)
	}

	conn, err := listener.Accept()
	if err != nil {
		t.Fatal(err)
	}

	return conn
}

// receives waits for records in order; the last one before may come twice.
func receives(t *testing.T, conn net.Conn, numbers ...int) {
	t.Helper()

	if err := conn.SetReadDeadline(time.Now().Add(20 * time.Second)); err != nil {
		t.Fatal(err)
	}

	for lines := bufio.NewScanner(conn); len(numbers) > 0; {
		if !lines.Scan() {
			t.Fatalf("lacks %v: %v", numbers, lines.Err())
		}

		var got struct {
			Message  string `json:"msg"`
			Level    string `json:"talos-level"`
			Facility string `json:"facility"`
			Priority string `json:"priority"`
			Sequence int    `json:"seq"`
			Clock    int    `json:"clock"`
		}

		if err := json.Unmarshal(lines.Bytes(), &got); err != nil {
			t.Fatal(err)
		}

		if got.Sequence != numbers[0] || got.Message != fmt.Sprintf("record %d", numbers[0]) || got.Level != "warn" ||
			got.Facility != "kern" || got.Priority != "warning" || got.Clock != 1000000 {
			t.Fatalf("got %s, want record %d", lines.Text(), numbers[0])
		}

		numbers = numbers[1:]
	}
}

func TestKernelLogOverUDP(t *testing.T) {
	log := newKernel(t)

	receiver, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer receiver.Close()

	run(t, (&Kernel{
		Path: log.path, Destination: &url.URL{Scheme: "udp", Host: receiver.LocalAddr().String()}, Sent: filepath.Join(t.TempDir(), "sent"), Log: logger(t),
	}).Run)
	log.say(7)

	if err := receiver.SetReadDeadline(time.Now().Add(20 * time.Second)); err != nil {
		t.Fatal(err)
	}

	packet := make([]byte, 4096)

	n, _, err := receiver.ReadFrom(packet)
	if err != nil {
		t.Fatal(err)
	}

	var got map[string]any
	if err := json.Unmarshal(packet[:n], &got); err != nil || got["msg"] != "record 7" {
		t.Errorf("%s: %v", packet[:n], err)
	}
}

// source plays init, sink the receiver.
type source struct {
	machine.UnimplementedMachineServiceServer

	mu  sync.Mutex
	ids []string
}

func (s *source) Events(in *machine.EventsRequest, stream grpc.ServerStreamingServer[machine.Event]) error {
	s.mu.Lock()
	ids := slices.Clone(s.ids)
	s.mu.Unlock()

	for _, id := range ids {
		if id > in.GetTailId() && (in.GetTailId() != "" || in.GetTailEvents() == -1) {
			if err := stream.Send(&machine.Event{Id: id, Data: &anypb.Any{TypeUrl: "talos/runtime/machine.TaskEvent"}}); err != nil {
				return err
			}
		}
	}

	<-stream.Context().Done()

	return nil
}

type sink struct{ got chan string }

func (s *sink) publish(_ any, _ context.Context, decode func(any) error, _ grpc.UnaryServerInterceptor) (any, error) {
	var in events.EventRequest
	if err := decode(&in); err != nil {
		return nil, err
	}

	s.got <- in.GetId() + " " + in.GetData().GetTypeUrl()

	return &events.EventResponse{}, nil
}

func (s *sink) serve(t *testing.T, address string) (string, func()) {
	t.Helper()

	var listener net.Listener

	kittest.AwaitNoError(t, 10*time.Second, func() (err error) { listener, err = net.Listen("tcp", address); return err })

	server := grpc.NewServer()
	server.RegisterService(&grpc.ServiceDesc{
		ServiceName: "events.EventSinkService", HandlerType: (*any)(nil), Methods: []grpc.MethodDesc{{MethodName: "Publish", Handler: s.publish}},
	}, s)

	go server.Serve(listener) //nolint:errcheck // it ends with the test

	t.Cleanup(server.Stop)

	return listener.Addr().String(), server.Stop
}

// TestEvents: a receiver that was away gets what happened meanwhile, and after the daemon's restart at most the last one again.
func TestEvents(t *testing.T) {
	from := &source{ids: []string{"1", "2"}}

	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}

	init := grpc.NewServer()
	machine.RegisterMachineServiceServer(init, from)

	go init.Serve(listener) //nolint:errcheck // it ends with the test

	t.Cleanup(init.Stop)

	conn, err := grpc.NewClient(listener.Addr().String(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()

	to := &sink{got: make(chan string, 10)}
	address, away := to.serve(t, "127.0.0.1:0")
	away()

	deliver := (&Events{
		Endpoint: address, Init: func() (*grpc.ClientConn, error) { return conn, nil }, Sent: filepath.Join(t.TempDir(), "sent"), Log: logger(t),
	}).Run
	stop := run(t, deliver)

	to.serve(t, address)
	to.receives(t, "1", "2")
	stop()

	from.mu.Lock()
	from.ids = append(from.ids, "3")
	from.mu.Unlock()

	run(t, deliver)
	if again := to.next(t); again != "2" {
		to.same(t, again, "3")

		return
	}

	to.receives(t, "3")
}

func (s *sink) receives(t *testing.T, ids ...string) {
	t.Helper()

	for _, id := range ids {
		s.same(t, s.next(t), id)
	}
}

func (*sink) same(t *testing.T, got, want string) {
	t.Helper()

	if got != want {
		t.Errorf("the receiver got %q, want %q", got, want)
	}
}

// next is the id of the next event, whose type has to be as init has it.
func (s *sink) next(t *testing.T) string {
	t.Helper()

	select {
	case got := <-s.got:
		id, kind, _ := strings.Cut(got, " ")
		s.same(t, kind, "talos/runtime/machine.TaskEvent")

		return id
	case <-time.After(20 * time.Second):
		t.Fatal("the receiver waits")

		return ""
	}
}
