package stateserver_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	grpcpeer "google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"
	"google.golang.org/grpc/test/bufconn"
	"google.golang.org/protobuf/encoding/prototext"
	"google.golang.org/protobuf/proto"

	"github.com/cosi-project/runtime/api/v1alpha1"
	"github.com/cosi-project/runtime/pkg/resource"
	"github.com/cosi-project/runtime/pkg/resource/protobuf"
	cosi "github.com/cosi-project/runtime/pkg/state/protobuf/server"

	"github.com/dactyl-os/dactyl/services/kit/internal/catalog"
	"github.com/dactyl-os/dactyl/services/kit/internal/frame"
	"github.com/dactyl-os/dactyl/services/kit/internal/peercred"
	"github.com/dactyl-os/dactyl/services/kit/internal/stateserver"
	"github.com/dactyl-os/dactyl/services/kit/internal/store"
	"github.com/dactyl-os/dactyl/services/kit/internal/testdaemon"
	"github.com/dactyl-os/dactyl/services/kit/peer"
)

// TestAnswersLikeCosisOwnServer makes the same calls at both servers, each with a store of its own, and compares what comes:
// all six methods, wrong requests too.
func TestAnswersLikeCosisOwnServer(t *testing.T) {
	testdaemon.Register()

	for seed := range uint64(20) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			ours, theirs := serveOurs(t), serveTheirs(t)
			random := rand.New(rand.NewPCG(seed, 0))

			watches := watchBoth(t, ours, theirs)

			for step := range 60 {
				call := randomCall(random)
				a, b := call.do(t, ours), call.do(t, theirs)

				if a != b {
					t.Fatalf("step %d, %s\nours:   %s\ntheirs: %s", step, call, a, b)
				}
			}

			for name, watch := range watches {
				if a, b := watch(ours), watch(theirs); a != b {
					t.Errorf("watch %s\nours:   %s\ntheirs: %s", name, a, b)
				}
			}
		})
	}
}

func serveOurs(t *testing.T) v1alpha1.StateClient {
	t.Helper()

	s := stateserver.New()
	s.Self, s.Lookup = "testdaemon", func(string) (catalog.Definition, bool) { return catalog.Definition{}, false }
	s.Stopping = make(chan struct{})

	// Reading needs no name here, writing does.
	asRoot := func(ctx context.Context, req any, _ *grpc.UnaryServerInfo, handle grpc.UnaryHandler) (any, error) {
		return handle(grpcpeer.NewContext(ctx, &grpcpeer.Peer{AuthInfo: peercred.Info{Name: peer.Root}}), req)
	}

	return serve(t, s.Register, grpc.ForceServerCodecV2(frame.Codec()), grpc.UnaryInterceptor(asRoot))
}

func serveTheirs(t *testing.T) v1alpha1.StateClient {
	t.Helper()

	return serve(t, func(r grpc.ServiceRegistrar) { v1alpha1.RegisterStateServer(r, cosi.NewState(store.New(nil))) })
}

func serve(t *testing.T, register func(grpc.ServiceRegistrar), opts ...grpc.ServerOption) v1alpha1.StateClient {
	t.Helper()

	listener := bufconn.Listen(1 << 20)
	server := grpc.NewServer(opts...)
	register(server)

	go server.Serve(listener) //nolint:errcheck // ends with the test

	conn, err := grpc.NewClient("passthrough:///state", grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return listener.DialContext(ctx) }))
	if err != nil {
		t.Fatal(err)
	}

	t.Cleanup(func() {
		conn.Close()
		server.Stop()
	})

	return v1alpha1.NewStateClient(conn)
}

// call is one request for either server.
type call struct {
	name    string
	request proto.Message
	do      func(*testing.T, v1alpha1.StateClient) string
}

func (c call) String() string { return c.name + " " + prototext.Format(c.request) }

func randomCall(r *rand.Rand) call {
	var (
		id    = fmt.Sprint("item-", r.IntN(4))
		owner = []string{"", "me", "you"}[r.IntN(3)]
		ns    = testdaemon.Namespace
		typ   = testdaemon.ItemType
	)

	switch r.IntN(6) {
	case 0:
		return unaryCall("Get", &v1alpha1.GetRequest{Namespace: ns, Type: typ, Id: id}, v1alpha1.StateClient.Get)
	case 1:
		return listCall(&v1alpha1.ListRequest{Namespace: ns, Type: typ, Options: &v1alpha1.ListOptions{LabelQuery: randomLabels(r), IdQuery: randomIDs(r)}})
	case 2, 3:
		return unaryCall("Create", &v1alpha1.CreateRequest{Resource: randomItem(r, id), Options: &v1alpha1.CreateOptions{Owner: owner}}, v1alpha1.StateClient.Create)
	case 4:
		request := &v1alpha1.UpdateRequest{NewResource: randomItem(r, id), Options: &v1alpha1.UpdateOptions{Owner: owner}}
		if phase := []string{"", "running", "tearingDown", "nonsense"}[r.IntN(4)]; phase != "" {
			request.Options.ExpectedPhase = &phase
		}

		return unaryCall("Update", request, v1alpha1.StateClient.Update)
	default:
		return unaryCall("Destroy", &v1alpha1.DestroyRequest{Namespace: ns, Type: typ, Id: id, Options: &v1alpha1.DestroyOptions{Owner: owner}}, v1alpha1.StateClient.Destroy)
	}
}

func randomItem(r *rand.Rand, id string) *v1alpha1.Resource {
	item := testdaemon.NewItem(testdaemon.ItemType, id, fmt.Sprint(r.IntN(3)))
	item.Metadata().Labels().Set("colour", []string{"red", "blue"}[r.IntN(2)])

	if r.IntN(4) == 0 {
		item.Metadata().SetPhase(resource.PhaseTearingDown)
	}

	// Most updates have the right version by chance only.
	for range 1 + r.IntN(3) {
		item.Metadata().SetVersion(item.Metadata().Version().Next())
	}

	if r.IntN(2) == 0 {
		_ = item.Metadata().SetOwner([]string{"me", "you"}[r.IntN(2)]) // it has none yet
	}

	wrapped, err := protobuf.FromResource(item)
	if err != nil {
		panic(err)
	}

	wire, err := wrapped.Marshal()
	if err != nil {
		panic(err)
	}

	switch r.IntN(12) {
	case 0:
		wire.GetMetadata().Version = "nonsense"
	case 1:
		wire.GetMetadata().Phase = "nonsense"
	case 2:
		wire.Spec = nil
	}

	return wire
}

func randomLabels(r *rand.Rand) []*v1alpha1.LabelQuery {
	if r.IntN(2) == 0 {
		return nil
	}

	return []*v1alpha1.LabelQuery{{Terms: []*v1alpha1.LabelTerm{{
		Key: "colour", Op: v1alpha1.LabelTerm_Operation(r.IntN(4)), Value: []string{"red"}, Invert: r.IntN(2) == 0,
	}}}}
}

func randomIDs(r *rand.Rand) *v1alpha1.IDQuery {
	if r.IntN(2) == 0 {
		return nil
	}

	return &v1alpha1.IDQuery{Regexp: []string{"[0-1]$", "item", "("}[r.IntN(3)]}
}

func unaryCall[Req, Resp proto.Message](name string, request Req, method func(v1alpha1.StateClient, context.Context, Req, ...grpc.CallOption) (Resp, error)) call {
	return call{name, request, func(t *testing.T, client v1alpha1.StateClient) string {
		t.Helper()

		response, err := method(client, t.Context(), request)
		if err != nil {
			return codeOf(err)
		}

		return plain(response)
	}}
}

func listCall(request *v1alpha1.ListRequest) call {
	return call{"List", request, func(t *testing.T, client v1alpha1.StateClient) string {
		t.Helper()

		stream, err := client.List(t.Context(), request)
		if err != nil {
			return codeOf(err)
		}

		for out := ""; ; {
			response, err := stream.Recv()

			switch {
			case errors.Is(err, io.EOF):
				return out
			case err != nil:
				return out + codeOf(err)
			}

			out += plain(response)
		}
	}}
}

// codeOf is how a call failed. What cannot be decoded is Unknown for cosi's server and InvalidArgument for ours.
func codeOf(err error) string {
	if code := status.Code(err); code != codes.Unknown {
		return code.String()
	}

	return codes.InvalidArgument.String()
}

// plain is a message without what differs by nature: when something was written, and bookmarks, which are the store's.
func plain(message proto.Message) string {
	message = proto.Clone(message)

	var of []*v1alpha1.Resource

	switch m := message.(type) {
	case *v1alpha1.GetResponse:
		of = append(of, m.GetResource())
	case *v1alpha1.ListResponse:
		of = append(of, m.GetResource())
	case *v1alpha1.CreateResponse:
		of = append(of, m.GetResource())
	case *v1alpha1.UpdateResponse:
		of = append(of, m.GetResource())
	case *v1alpha1.Event:
		m.Bookmark = nil
		of = append(of, m.GetResource(), m.GetOld())
	}

	for _, r := range of {
		if md := r.GetMetadata(); md != nil {
			md.Created, md.Updated = nil, nil
		}

		if r.GetSpec() != nil {
			r.Spec.YamlSpec = ""
		}
	}

	wire, err := proto.MarshalOptions{Deterministic: true}.Marshal(message)
	if err != nil {
		return err.Error()
	}

	return fmt.Sprintf("%T %q", message, wire)
}

// watchBoth begins the same watches at both servers and gives, for each, what a server's client was told until the mark that
// both see last.
func watchBoth(t *testing.T, clients ...v1alpha1.StateClient) map[string]func(v1alpha1.StateClient) string {
	t.Helper()

	watches := map[string]func(v1alpha1.StateClient) string{}
	one := "item-1"

	for name, request := range map[string]*v1alpha1.WatchRequest{
		"of a kind":                 {Options: &v1alpha1.WatchOptions{BootstrapContents: true}, ApiVersion: 1},
		"of a kind, aggregated":     {Options: &v1alpha1.WatchOptions{BootstrapContents: true, Aggregated: true}, ApiVersion: 1},
		"of a kind, with bookmark":  {Options: &v1alpha1.WatchOptions{BootstrapBookmark: true}, ApiVersion: 1},
		"of a kind, old client":     {Options: &v1alpha1.WatchOptions{BootstrapContents: true}},
		"of one resource":           {Id: &one, ApiVersion: 1},
		"of one, wrong options":     {Id: &one, Options: &v1alpha1.WatchOptions{BootstrapContents: true}, ApiVersion: 1},
		"of a kind, wrong bookmark": {Options: &v1alpha1.WatchOptions{StartFromBookmark: []byte("nonsense")}, ApiVersion: 1},
		"of a kind, wrong query":    {Options: &v1alpha1.WatchOptions{IdQuery: &v1alpha1.IDQuery{Regexp: "("}}, ApiVersion: 1},
	} {
		request.Namespace, request.Type = testdaemon.Namespace, testdaemon.ItemType
		type begun struct {
			stream grpc.ServerStreamingClient[v1alpha1.WatchResponse]
			first  string
		}

		streams := map[v1alpha1.StateClient]begun{}

		for _, client := range clients {
			stream, err := client.Watch(t.Context(), request)
			if err != nil {
				t.Fatal(err)
			}

			// It is established with its first message.
			first := "established\n"
			if response, err := stream.Recv(); err != nil {
				first = codeOf(err)
			} else if len(response.GetEvent()) > 0 {
				t.Errorf("watch %s begins with %v", name, response)
			}

			streams[client] = begun{stream, first}
		}

		watches[name] = func(client v1alpha1.StateClient) string {
			w := streams[client]

			return w.first + told(t, client, w.stream, request.Id != nil)
		}
	}

	return watches
}

// told is what a watch tells until the mark, which is written now, or until it ends.
func told(t *testing.T, client v1alpha1.StateClient, stream grpc.ServerStreamingClient[v1alpha1.WatchResponse], single bool) string {
	t.Helper()

	mark := "mark"
	if single {
		mark = "item-1"
	}

	item, err := protobuf.FromResource(testdaemon.NewItem(testdaemon.ItemType, mark, "mark"))
	if err != nil {
		t.Fatal(err)
	}

	wire, err := item.Marshal()
	if err != nil {
		t.Fatal(err)
	}

	// It may be there from the watch before, with any owner.
	for _, owner := range []string{"", "me", "you"} {
		_, _ = client.Destroy(t.Context(), &v1alpha1.DestroyRequest{Namespace: testdaemon.Namespace, Type: testdaemon.ItemType, Id: mark, Options: &v1alpha1.DestroyOptions{Owner: owner}})
	}

	if _, err := client.Create(t.Context(), &v1alpha1.CreateRequest{Resource: wire}); err != nil {
		t.Fatal(err)
	}

	timer := time.AfterFunc(10*time.Second, func() { panic("the watch does not tell of the mark") })
	defer timer.Stop()

	for out := ""; ; {
		response, err := stream.Recv()
		if err != nil {
			return out + codeOf(err)
		}

		for _, event := range response.GetEvent() {
			out += plain(event) + "\n"

			if event.GetEventType() == v1alpha1.EventType_CREATED && event.GetResource().GetMetadata().GetId() == mark && string(event.GetResource().GetSpec().GetProtoSpec()) == string(wire.GetSpec().GetProtoSpec()) {
				return out
			}
		}
	}
}
