package proxy_test

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cosi-project/runtime/api/v1alpha1"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/emptypb"

	"github.com/dactyl-os/dactyl/proto/common"
	"github.com/dactyl-os/dactyl/proto/machine"
	"github.com/dactyl-os/dactyl/services/gateway/internal/fake"
	"github.com/dactyl-os/dactyl/services/kit/access"
)

// pair is a control plane of two gateways on two loopback addresses, and a client of the first.
type pair struct {
	authority     *fake.Authority
	first, second *node
	admin         machine.MachineServiceClient
	conn          *grpc.ClientConn
}

func startPair(t *testing.T) *pair {
	t.Helper()

	authority := fake.NewAuthority(t)
	first := startNode(t, "127.0.0.2", "0", material(t, authority, "127.0.0.2"))
	second := startNode(t, "127.0.0.3", first.port, material(t, authority, "127.0.0.3", "second"))
	conn := first.dial(t, authority, authority.Client(t, access.Admin))

	return &pair{authority: authority, first: first, second: second, conn: conn, admin: machine.NewMachineServiceClient(conn)}
}

func TestLocalCallPassesMetadataBothWays(t *testing.T) {
	p := startPair(t)

	var header, trailer metadata.MD

	ctx := with(t, "own-key", "kept", "dactyl-self", "1", access.RoleKey, access.Impersonator, "proxyfrom", "nobody")

	answer, err := p.admin.Hostname(ctx, &emptypb.Empty{}, grpc.Header(&header), grpc.Trailer(&trailer))
	if err != nil {
		t.Fatal(err)
	}

	if len(answer.GetMessages()) != 1 || answer.GetMessages()[0].GetMetadata() != nil {
		t.Errorf("a local answer is changed: %v", answer)
	}

	if roles(header) != access.Admin {
		t.Errorf("roles at the owner: %q", roles(header))
	}

	keys := header[fake.KeysKey]
	if !slices.Contains(keys, "own-key") || slices.Contains(keys, "dactyl-self") || slices.Contains(keys, "proxyfrom") {
		t.Errorf("keys at the owner: %q", keys)
	}

	if len(trailer[fake.TrailerKey]) != 1 {
		t.Errorf("trailer: %v", trailer)
	}
}

func TestStatusDetailsPassThrough(t *testing.T) {
	p := startPair(t)

	for name, extra := range map[string][]string{"local": nil, "forwarded": {"node", "127.0.0.3"}} {
		_, err := p.admin.Hostname(with(t, append(extra, fake.FailKey, "FailedPrecondition")...), &emptypb.Empty{})

		if got := status.Convert(err); got.Code() != codes.FailedPrecondition || got.Message() != "as asked" || len(got.Details()) != 1 {
			t.Errorf("%s: %v", name, got)
		}
	}
}

func TestFanOutNamesTargetsAsWritten(t *testing.T) {
	p := startPair(t)
	p.first.book.Member("second", "second", nil)

	answer, err := p.admin.Hostname(with(t, "nodes", "127.0.0.3", "nodes", "127.0.0.2", "nodes", "127.0.0.9"), &emptypb.Empty{})
	if err != nil {
		t.Fatal(err)
	}

	var got []string

	for _, message := range answer.GetMessages() {
		line := message.GetMetadata().GetHostname()

		if message.GetMetadata().GetError() != "" {
			line += " " + codes.Code(message.GetMetadata().GetStatus().GetCode()).String()
		}

		got = append(got, line)
	}

	if want := []string{"127.0.0.3", "127.0.0.2", "127.0.0.9 Unavailable"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}

	if text := answer.GetMessages()[2].GetMetadata().GetError(); !strings.Contains(text, "127.0.0.9") || !strings.Contains(text, "refused") {
		t.Errorf("the reason is not told: %s", text)
	}
}

func TestFanOutGivesUpBeforeTheCaller(t *testing.T) {
	p := startPair(t)

	// Nothing answers at the second node's owner within the deadline.
	ctx := with(t, "nodes", "127.0.0.2,127.0.0.3", fake.DelayKey, "1m")

	start := time.Now()

	bounded, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()

	answer, err := p.admin.Hostname(bounded, &emptypb.Empty{})
	if err != nil {
		t.Fatalf("after %s: %v", time.Since(start), err)
	}

	for _, message := range answer.GetMessages() {
		if codes.Code(message.GetMetadata().GetStatus().GetCode()) != codes.DeadlineExceeded {
			t.Errorf("got %v", message)
		}
	}
}

func TestForwardedCallCarriesTheCallersRoles(t *testing.T) {
	p := startPair(t)
	operator := machine.NewMachineServiceClient(p.first.dial(t, p.authority, p.authority.Client(t, access.Operator)))

	var header metadata.MD

	if _, err := operator.Hostname(with(t, "node", "127.0.0.3"), &emptypb.Empty{}, grpc.Header(&header)); err != nil {
		t.Fatal(err)
	}

	if roles(header) != access.Operator {
		t.Errorf("roles at the other node's owner: %q", roles(header))
	}
}

func TestForgedRoleHeaderMeansNothing(t *testing.T) {
	p := startPair(t)
	reader := machine.NewMachineServiceClient(p.first.dial(t, p.authority, p.authority.Client(t, access.Reader)))

	var header metadata.MD

	ctx := with(t, access.RoleKey, access.Admin)
	if _, err := reader.Hostname(ctx, &emptypb.Empty{}, grpc.Header(&header)); err != nil || roles(header) != access.Reader {
		t.Errorf("roles at the owner: %q, %v", roles(header), err)
	}

	if _, err := reader.Reset(ctx, &machine.ResetRequest{}); status.Code(err) != codes.PermissionDenied {
		t.Errorf("Reset: %v", err)
	}

	if _, err := reader.Reset(with(t, access.RoleKey, access.Admin, "node", "127.0.0.3"), &machine.ResetRequest{}); status.Code(err) != codes.PermissionDenied {
		t.Errorf("forwarded Reset: %v", err)
	}

	// Another gateway speaks for its callers, and without one it may do nothing.
	gateway := machine.NewMachineServiceClient(p.first.dial(t, p.authority, p.authority.Client(t, access.Impersonator)))

	if _, err := gateway.Hostname(ctx, &emptypb.Empty{}, grpc.Header(&header)); err != nil || roles(header) != access.Admin {
		t.Errorf("roles from a gateway: %q, %v", roles(header), err)
	}

	if _, err := gateway.Hostname(with(t), &emptypb.Empty{}); status.Code(err) != codes.PermissionDenied {
		t.Errorf("a gateway on its own: %v", err)
	}
}

func TestStreamsAreInterleavedWithFailures(t *testing.T) {
	p := startPair(t)

	stream, err := p.admin.Dmesg(with(t, "nodes", "127.0.0.2,127.0.0.3,127.0.0.9"), &machine.DmesgRequest{})
	if err != nil {
		t.Fatal(err)
	}

	count := map[string]int{}

	for _, message := range drain(t, stream) {
		count[message.GetMetadata().GetHostname()]++

		if failed := message.GetMetadata().GetError() != ""; failed != (message.GetMetadata().GetHostname() == "127.0.0.9") {
			t.Errorf("message %v", message)
		}
	}

	if count["127.0.0.2"] != fake.StreamLength || count["127.0.0.3"] != fake.StreamLength || count["127.0.0.9"] != 1 {
		t.Errorf("messages: %v", count)
	}
}

func TestStreamOfOneNodePassesUnchanged(t *testing.T) {
	p := startPair(t)

	for name, extra := range map[string][]string{"local": nil, "forwarded": {"node", "127.0.0.3"}, "self": {"node", "127.0.0.2"}} {
		stream, err := p.admin.Dmesg(with(t, extra...), &machine.DmesgRequest{})
		if err != nil {
			t.Fatal(err)
		}

		messages := drain(t, stream)
		if len(messages) != fake.StreamLength || messages[0].GetMetadata() != nil || string(messages[0].GetBytes()) != "hostd" {
			t.Errorf("%s: %v", name, messages)
		}

		if trailer := stream.Trailer(); len(trailer[fake.TrailerKey]) != 1 {
			t.Errorf("%s: trailer %v", name, trailer)
		}
	}
}

func TestUploadReachesItsNode(t *testing.T) {
	p := startPair(t)

	for name, extra := range map[string][]string{"local": nil, "node": {"node", "127.0.0.3"}, "nodes": {"nodes", "127.0.0.3"}} {
		stream, err := p.admin.EtcdRecover(with(t, extra...))
		if err != nil {
			t.Fatal(err)
		}

		for range 20 {
			if err := stream.Send(&common.Data{Bytes: make([]byte, 64<<10)}); err != nil {
				t.Fatal(err)
			}
		}

		answer, err := stream.CloseAndRecv()
		if err != nil || len(answer.GetMessages()) != 1 {
			t.Fatalf("%s: %v, %v", name, answer, err)
		}

		if got := answer.GetMessages()[0].GetMetadata().GetHostname(); (got == "127.0.0.3") != (name == "nodes") {
			t.Errorf("%s: host name %q", name, got)
		}
	}
}

func TestResourceRequestsFollowTheirType(t *testing.T) {
	p := startPair(t)
	admin := v1alpha1.NewStateClient(p.conn)
	reader := v1alpha1.NewStateClient(p.first.dial(t, p.authority, p.authority.Client(t, access.Reader)))

	get := func(client v1alpha1.StateClient, typ string, pairs ...string) (metadata.MD, error) {
		var header metadata.MD

		_, err := client.Get(with(t, pairs...), &v1alpha1.GetRequest{Type: typ, Id: "x"}, grpc.Header(&header))

		return header, err
	}

	for _, pairs := range [][]string{nil, {"node", "127.0.0.3"}, {"nodes", "127.0.0.3"}} {
		if header, err := get(reader, openType, pairs...); err != nil || header[fake.OwnerKey][0] != "networkd" {
			t.Errorf("open type %q: %v, %v", pairs, header, err)
		}

		if header, err := get(admin, secretType, pairs...); err != nil || header[fake.OwnerKey][0] != "trustd" {
			t.Errorf("secret type %q: %v, %v", pairs, header, err)
		}

		if _, err := get(reader, secretType, pairs...); status.Code(err) != codes.PermissionDenied || !strings.HasPrefix(status.Convert(err).Message(), "not authorized") {
			t.Errorf("secret type as reader %q: %v", pairs, err)
		}
	}

	if _, err := get(admin, farType); status.Code(err) != codes.NotFound || !strings.Contains(err.Error(), "diskd does not run") {
		t.Errorf("type without owner: %v", err)
	}

	if _, err := get(admin, "Nothings.test"); status.Code(err) != codes.NotFound || !strings.Contains(err.Error(), "get rd") {
		t.Errorf("unknown type: %v", err)
	}

	if _, err := get(admin, openType, "nodes", "127.0.0.2,127.0.0.3"); status.Code(err) != codes.InvalidArgument {
		t.Errorf("resources of two nodes: %v", err)
	}
}

// TestTypeWithoutDaemonIsEmpty: a client that asks for several types keeps what it has of the others.
func TestTypeWithoutDaemonIsEmpty(t *testing.T) {
	p := startPair(t)

	for _, pairs := range [][]string{nil, {"node", "127.0.0.3"}} {
		client := v1alpha1.NewStateClient(p.conn)

		list, err := client.List(with(t, pairs...), &v1alpha1.ListRequest{Type: farType})
		if err == nil {
			_, err = list.Recv()
		}

		if !errors.Is(err, io.EOF) {
			t.Errorf("list %q: %v", pairs, err)
		}

		if _, err := client.Destroy(with(t, pairs...), &v1alpha1.DestroyRequest{Type: farType, Id: "x"}); err == nil {
			t.Errorf("destroy %q was accepted", pairs)
		}
	}

	// A watch is established, silent, and goes on when the daemon comes.
	watch, err := v1alpha1.NewStateClient(p.conn).Watch(with(t), &v1alpha1.WatchRequest{Type: farType})
	if err != nil {
		t.Fatal(err)
	}

	if first, err := watch.Recv(); err != nil || len(first.GetEvent()) > 0 {
		t.Fatalf("the first message: %v, %v", first, err)
	}

	p.first.startOwner(t, "diskd")

	for range fake.StreamLength - 1 {
		if _, err := watch.Recv(); err != nil {
			t.Fatalf("after diskd came: %v", err)
		}
	}

	if _, err := watch.Recv(); !errors.Is(err, io.EOF) {
		t.Errorf("the end: %v", err)
	}
}

func TestMethodWithoutDaemonNamesItsOwner(t *testing.T) {
	p := startPair(t)

	if _, err := p.admin.Upgrade(with(t), &machine.UpgradeRequest{}); status.Code(err) != codes.Unimplemented || !strings.Contains(err.Error(), "diskd") {
		t.Errorf("got %v", err)
	}

	err := p.conn.Invoke(with(t), "/machine.MachineService/Nonsense", &emptypb.Empty{}, &emptypb.Empty{})
	if status.Code(err) != codes.Unimplemented {
		t.Errorf("got %v", err)
	}
}

// A worker has no etcdd.
func TestBootstrapOfAWorker(t *testing.T) {
	p := startPair(t)
	p.first.owners["etcdd"].Stop()

	if err := os.RemoveAll(filepath.Join(p.first.runDir, "etcdd.sock")); err != nil {
		t.Fatal(err)
	}

	stream, err := p.admin.EtcdRecover(with(t))
	if err == nil {
		_, err = stream.CloseAndRecv()
	}

	_, bootstrap := p.admin.Bootstrap(with(t), &machine.BootstrapRequest{})

	for name, err := range map[string]error{"EtcdRecover": err, "Bootstrap": bootstrap} {
		if status.Code(err) != codes.FailedPrecondition || status.Convert(err).Message() != "bootstrap can only be performed on a control plane node" {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestWorkerCannotForward(t *testing.T) {
	authority := fake.NewAuthority(t)
	n := startNode(t, "127.0.0.2", "0", worker(t, authority, "127.0.0.2"))
	client := machine.NewMachineServiceClient(n.dial(t, authority, authority.Client(t, access.Admin)))

	if _, err := client.Hostname(with(t, "node", "127.0.0.2"), &emptypb.Empty{}); err != nil {
		t.Errorf("itself: %v", err)
	}

	_, err := client.Hostname(with(t, "node", "127.0.0.3"), &emptypb.Empty{})
	if status.Code(err) != codes.PermissionDenied || !strings.Contains(err.Error(), "control plane") {
		t.Errorf("got %v", err)
	}
}

func drain(t *testing.T, stream grpc.ServerStreamingClient[common.Data]) []*common.Data {
	t.Helper()

	var messages []*common.Data

	for {
		message, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return messages
		}

		if err != nil {
			t.Fatal(err)
		}

		messages = append(messages, message)
	}
}
