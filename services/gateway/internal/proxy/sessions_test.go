package proxy_test

import (
	"context"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/types/known/emptypb"

	"github.com/dactyl-os/dactyl/proto/machine"
	"github.com/dactyl-os/dactyl/services/gateway/internal/endpoint"
	"github.com/dactyl-os/dactyl/services/gateway/internal/fake"
	"github.com/dactyl-os/dactyl/services/kit/access"
)

// TestLastWordsOfANodeThatGoesDown: what a node says before it goes down reaches who follows its events, on a stream that
// ends by itself; every other stream ends at once and says why.
func TestLastWordsOfANodeThatGoesDown(t *testing.T) {
	p := startPair(t)
	own := openEvents(t, p, fake.LastKey, "300ms")
	far := openEvents(t, p, "node", "127.0.0.3", fake.StallKey, "1")

	log, err := p.admin.Dmesg(with(t, fake.StallKey, "1"), &machine.DmesgRequest{})
	if err != nil {
		t.Fatal(err)
	}

	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()

	p.first.calls.StopStreams(ctx, "rebooting")

	if ctx.Err() != nil {
		t.Error("it waited for streams that do not end by themselves")
	}

	if _, err := own.Recv(); err != nil {
		t.Errorf("the last event: %v", err)
	}

	_, err = own.Recv()
	wantRefusal(t, "the end of the events", err, codes.Unavailable, "")

	_, err = far.Recv()
	wantRefusal(t, "events of another node", err, codes.Unavailable, "this node is rebooting")

	for err = nil; err == nil; {
		_, err = log.Recv()
	}

	wantRefusal(t, "another stream", err, codes.Unavailable, "this node is rebooting")

	again, err := p.admin.Events(with(t), &machine.EventsRequest{})
	if err == nil {
		_, err = again.Recv()
	}

	wantRefusal(t, "a new stream", err, codes.Unavailable, "this node is rebooting")
}

// TestRotationEndsAForwardedStreamForAMoment: when a node forgets the old authority, what another gateway carried to it on a connection
// of before is no fault of the caller, who opens the stream again; a caller of the old authority is told to leave.
func TestRotationEndsAForwardedStreamForAMoment(t *testing.T) {
	p := startPair(t)
	far := openEvents(t, p, "node", "127.0.0.3", fake.StallKey, "1")

	direct, err := machine.NewMachineServiceClient(p.second.dial(t, p.authority, p.authority.Client(t, access.Admin))).Events(with(t, fake.StallKey, "1"), &machine.EventsRequest{})
	if err != nil {
		t.Fatal(err)
	}

	if _, err := direct.Recv(); err != nil {
		t.Fatal(err)
	}

	p.second.store.Set(material(t, fake.NewAuthority(t), "127.0.0.3"))
	p.second.calls.Recheck()

	_, err = far.Recv()
	wantRefusal(t, "a stream through another gateway", err, codes.Unavailable, "make the call again")

	for err = nil; err == nil; {
		_, err = direct.Recv()
	}

	wantRefusal(t, "a stream of a client", err, codes.Unauthenticated, "client certificate: x509")
}

// TestNodesThatDoNotKnowEachOtherYet: a call to a node that takes up a new authority an instant later waits for that; one to a node
// of another cluster is told in time.
func TestNodesThatDoNotKnowEachOtherYet(t *testing.T) {
	p := startPair(t)
	fresh := fake.NewAuthority(t)
	between := func(address string) *endpoint.Material {
		made, err := endpoint.Configured(endpoint.PEM(fresh.Server(t, address)), endpoint.PEM(fresh.Client(t, access.Impersonator)), [][]byte{fresh.PEM, p.authority.PEM})
		if err != nil {
			t.Fatal(err)
		}

		return made
	}

	p.first.store.Set(between("127.0.0.2"))

	slow := time.AfterFunc(300*time.Millisecond, func() { p.second.store.Set(between("127.0.0.3")) })
	defer slow.Stop()

	admin := machine.NewMachineServiceClient(p.first.dial(t, fresh, fresh.Client(t, access.Admin)))
	if _, err := admin.Hostname(with(t, "node", "127.0.0.3"), &emptypb.Empty{}); err != nil {
		t.Errorf("a node that is a moment late: %v", err)
	}

	p.second.store.Set(material(t, fake.NewAuthority(t), "127.0.0.3"))
	p.second.store.Retire()

	start := time.Now()
	_, err := admin.Hostname(with(t, "node", "127.0.0.3"), &emptypb.Empty{})
	wantRefusal(t, "a node of another cluster", err, codes.Unavailable, "authority")

	if took := time.Since(start); took > 5*time.Second {
		t.Errorf("it took %s to tell", took)
	}
}

// openEvents opens a stream of events and reads what it begins with.
func openEvents(t *testing.T, p *pair, pairs ...string) grpc.ServerStreamingClient[machine.Event] {
	t.Helper()

	stream, err := p.admin.Events(with(t, pairs...), &machine.EventsRequest{})
	if err != nil {
		t.Fatal(err)
	}

	for range fake.StreamLength {
		if _, err := stream.Recv(); err != nil {
			t.Fatal(err)
		}
	}

	return stream
}
