package proxy_test

import (
	"bytes"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/cosi-project/runtime/api/v1alpha1"
	cosi "github.com/cosi-project/runtime/pkg/resource"
	"github.com/cosi-project/runtime/pkg/state"
	"github.com/cosi-project/runtime/pkg/state/impl/inmem"
	"github.com/cosi-project/runtime/pkg/state/impl/namespaced"
	"github.com/cosi-project/runtime/pkg/state/protobuf/server"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/dactyl-os/dactyl/proto/resource"
	"github.com/dactyl-os/dactyl/proto/resource/network"
	"github.com/dactyl-os/dactyl/services/gateway/internal/fake"
)

// life is one process of an owner: it serves its resources until it dies.
type life struct {
	state.CoreState

	server *grpc.Server
	// died is closed when the owner dies in a list.
	died chan struct{}
	// written is closed when the mark was on its way.
	written chan struct{}
}

// mark is in the last resource of a list that breaks off.
const mark = "the last one"

// marked is a listener that notes when the mark is written: what Stop would throw away is no broken list.
type marked struct {
	net.Listener

	seen func()
}

type markedConn struct {
	net.Conn

	seen func()
}

func (m marked) Accept() (net.Conn, error) {
	conn, err := m.Listener.Accept()

	return markedConn{conn, m.seen}, err
}

func (m markedConn) Write(data []byte) (int, error) {
	n, err := m.Conn.Write(data)
	if bytes.Contains(data, []byte(mark)) {
		m.seen()
	}

	return n, err
}

// begin starts a life of networkd, the owner of noteType, which dies in a list after so many resources, with resources "id=text".
func begin(t *testing.T, n *node, breakAfter int, resources ...string) *life {
	t.Helper()

	if err := resource.Register(); err != nil {
		t.Fatal(err)
	}

	listener, err := fake.Listen(n.runDir, "networkd")
	if err != nil {
		t.Fatal(err)
	}

	l := &life{CoreState: namespaced.NewState(inmem.Build), died: make(chan struct{}), written: make(chan struct{})}

	for _, text := range resources {
		l.put(t, text)
	}

	l.server = grpc.NewServer(grpc.StreamInterceptor(func(srv any, stream grpc.ServerStream, info *grpc.StreamServerInfo, handle grpc.StreamHandler) error {
		if strings.HasSuffix(info.FullMethod, "/List") && breakAfter > 0 {
			stream = &breaking{stream, breakAfter, l}
		}

		return handle(srv, stream)
	}))
	v1alpha1.RegisterStateServer(l.server, server.NewState(l.CoreState))

	go func() { _ = l.server.Serve(marked{listener, sync.OnceFunc(func() { close(l.written) })}) }()

	t.Cleanup(l.server.Stop)

	return l
}

// breaking has its server die after so many messages.
type breaking struct {
	grpc.ServerStream

	after int
	life  *life
}

func (b *breaking) SendMsg(m any) error {
	if b.after--; b.after < 0 {
		<-b.life.written
		close(b.life.died)

		go b.life.server.Stop()

		<-b.Context().Done()

		return b.Context().Err()
	}

	return b.ServerStream.SendMsg(m)
}

func (l *life) put(t *testing.T, text string) {
	t.Helper()

	id, value, _ := strings.Cut(text, "=")
	r := note(id, value)

	err := l.Create(t.Context(), r)
	if state.IsConflictError(err) {
		var old cosi.Resource

		if old, err = l.Get(t.Context(), r.Metadata()); err == nil {
			r.Metadata().SetVersion(old.Metadata().Version())
			err = l.Update(t.Context(), r)
		}
	}

	if err != nil {
		t.Fatal(err)
	}
}

// noteType is the type of what the lives have.
const noteType = network.HostnameStatusType

// note is a resource that says something.
func note(id, value string) *network.HostnameStatus {
	r := network.NewHostnameStatus("test", id)
	r.TypedSpec().Hostname = value

	return r
}

// TestListThatBreaksOffIsMadeAgain: its owner dies after two of three resources. The caller sees one whole list.
func TestListThatBreaksOffIsMadeAgain(t *testing.T) {
	p := startPair(t)
	client := v1alpha1.NewStateClient(p.conn)

	for _, target := range []string{"127.0.0.2", "127.0.0.3"} {
		n := map[string]*node{"127.0.0.2": p.first, "127.0.0.3": p.second}[target]
		n.owners["networkd"].Stop()

		first := begin(t, n, 2, "a=1", "b="+mark, "c=1")

		var ids []string

		stream, err := client.List(with(t, "node", target), &v1alpha1.ListRequest{Namespace: "test", Type: noteType})
		if err != nil {
			t.Fatal(err)
		}

		// What the next life has is what the list has.
		next := make(chan *life, 1)

		go func() {
			<-first.died

			next <- begin(t, n, 0, "b=2", "c=2", "d=2")
		}()

		for {
			var answer *v1alpha1.ListResponse
			if answer, err = stream.Recv(); err != nil {
				break
			}

			ids = append(ids, answer.GetResource().GetMetadata().GetId())
		}

		if fmt.Sprint(err) != "EOF" || !slices.Equal(ids, []string{"b", "c", "d"}) {
			t.Errorf("%s: got %q, %v", target, ids, err)
		}

		(<-next).server.Stop()
	}
}

// told is a watch of a client that does not take up what broke off.
type told struct {
	stream grpc.ServerStreamingClient[v1alpha1.WatchResponse]
}

func watch(t *testing.T, client v1alpha1.StateClient, request *v1alpha1.WatchRequest) *told {
	t.Helper()

	request.Namespace, request.Type = "test", noteType

	stream, err := client.Watch(with(t), request)
	if err != nil {
		t.Fatal(err)
	}

	return &told{stream}
}

// next gives so many events as "TYPE id".
func (w *told) next(t *testing.T, count int) (events []string) {
	t.Helper()

	for len(events) < count {
		response, err := w.stream.Recv()
		if err != nil {
			t.Fatalf("after %q: %v", events, err)
		}

		for _, event := range response.GetEvent() {
			text := event.GetEventType().String()
			if event.GetEventType() != v1alpha1.EventType_BOOTSTRAPPED {
				text += " " + event.GetResource().GetMetadata().GetId()
			}

			events = append(events, text)
		}
	}

	return events
}

// TestWatchGoesOnWhenItsOwnerDies: the watcher is told what has changed by it, and no more.
func TestWatchGoesOnWhenItsOwnerDies(t *testing.T) {
	p := startPair(t)
	client := v1alpha1.NewStateClient(p.conn)
	p.first.owners["networkd"].Stop()

	owner := begin(t, p.first, 0, "gone=1", "late=1", "same=1", "turned=1")
	kind := watch(t, client, &v1alpha1.WatchRequest{ApiVersion: 1, Options: &v1alpha1.WatchOptions{BootstrapContents: true, Aggregated: true}})
	same, gone := "same", "gone"
	one := watch(t, client, &v1alpha1.WatchRequest{ApiVersion: 1, Id: &same})
	lost := watch(t, client, &v1alpha1.WatchRequest{ApiVersion: 1, Id: &gone})
	changes := watch(t, client, &v1alpha1.WatchRequest{ApiVersion: 1, Options: &v1alpha1.WatchOptions{Aggregated: true}})

	compare := func(what string, got []string, want ...string) {
		t.Helper()

		if slices.Sort(got); !slices.Equal(got, want) {
			t.Errorf("%s: told %q, want %q", what, got, want)
		}
	}

	compare("at first", kind.next(t, 5), "BOOTSTRAPPED", "CREATED gone", "CREATED late", "CREATED same", "CREATED turned")
	compare("at first, one", one.next(t, 1), "CREATED same")
	compare("at first, another", lost.next(t, 1), "CREATED gone")

	if _, err := changes.stream.Recv(); err != nil {
		t.Fatal(err)
	}

	for life := range 3 {
		owner.server.Stop()

		// A new life publishes step by step.
		owner = begin(t, p.first, 0, "same=1", fmt.Sprintf("turned=life %d", life), fmt.Sprintf("new%d=1", life))
		compare("after a death", kind.next(t, 2), fmt.Sprintf("CREATED new%d", life), "UPDATED turned")
		owner.put(t, "late=1")

		if life == 0 {
			compare("what did not come back", kind.next(t, 1), "DESTROYED gone")
			compare("of the other", lost.next(t, 1), "DESTROYED gone")
		} else {
			compare("what did not come back", kind.next(t, 1), fmt.Sprintf("DESTROYED new%d", life-1))
		}

		owner.put(t, fmt.Sprintf("same=life %d", life))
		compare("going on", kind.next(t, 1), "UPDATED same")
		compare("going on, one", one.next(t, 1), "UPDATED same")
		owner.put(t, "same=1")
		compare("going on", kind.next(t, 1), "UPDATED same")
		compare("going on, one", one.next(t, 1), "UPDATED same")
	}

	// Of a watch of changes only nobody knows what its watcher knows.
	if _, err := changes.stream.Recv(); status.Code(err) != codes.Unavailable || !strings.Contains(err.Error(), "networkd") {
		t.Errorf("a watch of changes: %v", err)
	}
}
