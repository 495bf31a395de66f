package proxy_test

import (
	"context"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/encoding/gzip"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/types/known/emptypb"

	"github.com/dactyl-os/dactyl/proto/common"
	"github.com/dactyl-os/dactyl/proto/machine"
	"github.com/dactyl-os/dactyl/services/gateway/internal/bounds"
	"github.com/dactyl-os/dactyl/services/gateway/internal/fake"
	"github.com/dactyl-os/dactyl/services/gateway/internal/route"
	"github.com/dactyl-os/dactyl/services/kit/access"
)

// padded is an Empty with an unknown field of so many bytes.
func padded(size int) *emptypb.Empty {
	message := &emptypb.Empty{}
	message.ProtoReflect().SetUnknown(protowire.AppendBytes(protowire.AppendTag(nil, 15, protowire.BytesType), make([]byte, size)))

	return message
}

func wantRefusal(t *testing.T, what string, err error, code codes.Code, text string) {
	t.Helper()

	if status.Code(err) != code || !strings.Contains(fmt.Sprint(err), text) {
		t.Errorf("%s gives %v, want %s with %q", what, err, code, text)
	}
}

func TestRequestsAreAsLargeAsTheirMethodTakes(t *testing.T) {
	p := startPair(t)

	_, err := p.admin.Hostname(with(t), padded(60<<10))
	if err != nil {
		t.Errorf("60 KiB: %v", err)
	}

	_, err = p.admin.Hostname(with(t), padded(64<<10))
	wantRefusal(t, "64 KiB and a field's head", err, codes.ResourceExhausted, "/machine.MachineService/Hostname takes at most 65536 bytes")

	_, err = p.admin.Hostname(with(t, "node", "127.0.0.3"), padded(30<<20))
	wantRefusal(t, "30 MiB for another node", err, codes.ResourceExhausted, "takes at most")

	// Thirty megabytes of zeros are thirty kilobytes on the wire.
	_, err = p.admin.Hostname(with(t), padded(30<<20), grpc.UseCompressor(gzip.Name))
	wantRefusal(t, "a compressed request", err, codes.ResourceExhausted, "more than the 65536 bytes")

	if _, err = p.admin.Hostname(with(t), padded(30<<10), grpc.UseCompressor(gzip.Name)); err != nil {
		t.Errorf("a small compressed request: %v", err)
	}

	if _, err = p.admin.ApplyConfiguration(with(t), &machine.ApplyConfigurationRequest{Data: make([]byte, 3<<20)}); err != nil {
		t.Errorf("a large configuration: %v", err)
	}
}

func TestUploadSaysWhichMessageIsTooLarge(t *testing.T) {
	p := startPair(t)

	stream, err := p.admin.EtcdRecover(with(t))
	if err != nil {
		t.Fatal(err)
	}

	for _, size := range []int{1 << 19, 1 << 21} {
		if err := stream.Send(&common.Data{Bytes: make([]byte, size)}); err != nil && !errors.Is(err, io.EOF) {
			t.Fatal(err)
		}
	}

	_, err = stream.CloseAndRecv()
	wantRefusal(t, "a piece of 2 MiB", err, codes.ResourceExhausted, "EtcdRecover takes at most 1048576 bytes")
}

// TestCallTakesOneRequest sends a second one where the method takes one.
func TestCallTakesOneRequest(t *testing.T) {
	p := startPair(t)

	stream, err := p.conn.NewStream(with(t), &grpc.StreamDesc{ClientStreams: true, ServerStreams: true}, "/machine.MachineService/Events")
	if err != nil {
		t.Fatal(err)
	}

	for range 2 {
		if err := stream.SendMsg(&machine.EventsRequest{}); err != nil && !errors.Is(err, io.EOF) {
			t.Fatal(err)
		}
	}

	wantRefusal(t, "a second request", stream.RecvMsg(&machine.Event{}), codes.InvalidArgument, "one message")
}

func TestStreamsOfOneCallerAreBounded(t *testing.T) {
	p := startPair(t)
	bound := bounds.Default.Caller.Streams

	open := func(ctx context.Context, client machine.MachineServiceClient) error {
		stream, err := client.Events(ctx, &machine.EventsRequest{})
		if err != nil {
			return err
		}

		_, err = stream.Recv()

		return err
	}

	ctx, cancel := context.WithCancel(with(t, fake.StallKey, "1"))
	defer cancel()

	for i := range bound {
		if err := open(ctx, p.admin); err != nil {
			t.Fatalf("stream %d: %v", i, err)
		}
	}

	wantRefusal(t, "one more", open(ctx, p.admin), codes.ResourceExhausted, fmt.Sprintf("as many streams on this node as one may have, %d", bound))

	if _, err := p.admin.Hostname(with(t), &emptypb.Empty{}); err != nil {
		t.Errorf("a call beside them: %v", err)
	}

	other := p.first.dial(t, p.authority, p.authority.Client(t, access.Reader))
	if err := open(ctx, machine.NewMachineServiceClient(other)); err != nil {
		t.Errorf("another caller: %v", err)
	}

	cancel()
	awaitNil(t, func() error { return open(with(t, fake.StallKey, "1"), p.admin) })
}

func awaitNil(t *testing.T, check func() error) {
	t.Helper()

	var err error

	for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		if err = check(); err == nil {
			return
		}
	}

	t.Fatal(err)
}

func TestTargetsAreBounded(t *testing.T) {
	p := startPair(t)

	targets := make([]string, route.MaxTargets+1)
	for i := range targets {
		targets[i] = fmt.Sprintf("127.1.%d.%d", i/200, i%200)
	}

	_, err := p.admin.Hostname(with(t, "nodes", strings.Join(targets, ",")), &emptypb.Empty{})
	wantRefusal(t, "a target more than the bound", err, codes.ResourceExhausted, "one call goes to at most 512")

	answer, err := p.admin.Hostname(with(t, "nodes", strings.Join(targets[1:], ",")), &emptypb.Empty{})
	if err != nil || len(answer.GetMessages()) != route.MaxTargets {
		t.Errorf("as many as the bound: %d answers, %v", len(answer.GetMessages()), err)
	}

	targets = make([]string, 5000)
	for i := range targets {
		targets[i] = fmt.Sprintf("127.1.%d.%d", i/200, i%200)
	}

	if _, err = p.admin.Hostname(with(t, "nodes", strings.Join(targets, ",")), &emptypb.Empty{}); err == nil {
		t.Error("5000 targets are taken")
	}
}

func TestStreamEndsWithItsCallersCertificate(t *testing.T) {
	p := startPair(t)
	end := time.Now().Add(2 * time.Second)
	short := p.authority.Sign(t, &x509.Certificate{
		Subject: pkix.Name{Organization: []string{access.Reader}}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: end,
	})

	stream, err := machine.NewMachineServiceClient(p.first.dial(t, p.authority, short)).Events(with(t, fake.StallKey, "1"), &machine.EventsRequest{})
	for err == nil {
		_, err = stream.Recv()
	}

	wantRefusal(t, "the stream", err, codes.Unauthenticated, "client certificate expired at")

	if time.Now().Before(end.Truncate(time.Second)) {
		t.Error("it ended before the certificate")
	}
}

func TestHangingDaemonIsNamed(t *testing.T) {
	p := startPair(t)

	for name, extra := range map[string][]string{"127.0.0.2": nil, "127.0.0.3": {"node", "127.0.0.3"}} {
		bounded, cancel := context.WithTimeout(with(t, append(extra, fake.DelayKey, "1m")...), time.Second)
		defer cancel()

		_, err := p.admin.Hostname(bounded, &emptypb.Empty{})
		wantRefusal(t, "a unary call", err, codes.DeadlineExceeded, "init on "+name+" has not answered for")

		bounded, cancel = context.WithTimeout(with(t, append(extra, fake.DelayKey, "1m")...), time.Second)
		defer cancel()

		stream, err := p.admin.Events(bounded, &machine.EventsRequest{})
		if err == nil {
			_, err = stream.Recv()
		}

		wantRefusal(t, "a stream", err, codes.DeadlineExceeded, "init on "+name+" has not answered for")
	}
}

func TestSilentConnectionsMakePlace(t *testing.T) {
	p := startPair(t)
	silent := make([]net.Conn, 300)

	for i := range silent {
		conn, err := net.Dial("tcp", net.JoinHostPort(p.first.address, p.first.port))
		if err != nil {
			t.Fatal(err)
		}

		t.Cleanup(func() { _ = conn.Close() })

		silent[i] = conn
	}

	client := machine.NewMachineServiceClient(p.first.dial(t, p.authority, p.authority.Client(t, access.Reader)))
	if _, err := client.Hostname(with(t), &emptypb.Empty{}); err != nil {
		t.Errorf("a caller who says who it is: %v", err)
	}

	// The first ones had to go, long before their time was over.
	if err := silent[0].SetReadDeadline(time.Now().Add(3 * time.Second)); err != nil {
		t.Fatal(err)
	}

	if _, err := silent[0].Read(make([]byte, 1)); errors.Is(err, context.DeadlineExceeded) || isTimeout(err) {
		t.Error("the connection that has been silent for longest is still open")
	}
}

func isTimeout(err error) bool {
	var timeout net.Error

	return errors.As(err, &timeout) && timeout.Timeout()
}

// TestCallsThatAreGivenUpAreGivenBack: more of them than one caller may have in hand, each ended at another moment.
func TestCallsThatAreGivenUpAreGivenBack(t *testing.T) {
	p := startPair(t)

	var group sync.WaitGroup

	for caller := range 8 {
		group.Go(func() {
			for i := range 400 {
				ctx, cancel := context.WithTimeout(with(t, "nodes", "127.0.0.2,127.0.0.3"), time.Duration(300+17*(i*caller%200))*time.Microsecond)
				stream, err := p.admin.Dmesg(ctx, &machine.DmesgRequest{})

				for err == nil {
					_, err = stream.Recv()
				}

				_, _ = p.admin.Hostname(ctx, &emptypb.Empty{}) // ended or answered
				cancel()
			}
		})
	}

	group.Wait()

	for i := range bounds.Default.Caller.Streams {
		stream, err := p.admin.Events(with(t, fake.StallKey, "1"), &machine.EventsRequest{})
		if err == nil {
			_, err = stream.Recv()
		}

		if err != nil {
			t.Fatalf("stream %d: %v", i, err)
		}
	}
}
