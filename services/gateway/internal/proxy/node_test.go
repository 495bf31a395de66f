package proxy_test

import (
	"context"
	"crypto/tls"
	"log/slog"
	"net"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/reflect/protoregistry"

	"github.com/dactyl-os/dactyl/services/gateway/internal/endpoint"
	"github.com/dactyl-os/dactyl/services/gateway/internal/fake"
	"github.com/dactyl-os/dactyl/services/gateway/internal/names"
	"github.com/dactyl-os/dactyl/services/gateway/internal/proxy"
	"github.com/dactyl-os/dactyl/services/gateway/internal/route"
	"github.com/dactyl-os/dactyl/services/gateway/internal/upstream"
	"github.com/dactyl-os/dactyl/services/kit/access"
	"github.com/dactyl-os/dactyl/services/kit/calllog"
	"github.com/dactyl-os/dactyl/services/kit/kittest"
)

// node is a gateway in this process with fake owners behind it.
type node struct {
	address string
	runDir  string
	port    string
	store   *endpoint.Store
	owners  map[string]*grpc.Server
	book    *names.Book
	log     kittest.Buffer
	calls   *proxy.Proxy
}

// secret is a type that only os:admin may read; open is one that every role may read; far has no owner on a node.
const (
	secretType = "Secrets.test"
	openType   = "Opens.test"
	farType    = "Fars.test"
)

func types(name string) (route.Type, bool) {
	typ, ok := map[string]route.Type{
		secretType: {Owner: "trustd", Sensitive: true},
		openType:   {Owner: "networkd"},
		noteType:   {Owner: "networkd"},
		farType:    {Owner: "diskd"},
	}[name]

	return typ, ok
}

func startNode(t testing.TB, address, port string, material *endpoint.Material) *node {
	t.Helper()

	listener, err := net.Listen("tcp", net.JoinHostPort(address, port))
	if err != nil {
		t.Fatal(err)
	}

	_, port, _ = net.SplitHostPort(listener.Addr().String())
	n := &node{
		address: address, port: port, runDir: t.TempDir(), store: endpoint.NewStore(),
		owners: map[string]*grpc.Server{}, book: names.NewBook(),
	}

	n.store.Set(material)

	for _, owner := range fake.Owners() {
		n.startOwner(t, owner)
	}

	daemons := upstream.NewDaemons(n.runDir)
	peers := upstream.NewPeers(port, n.store.Peer, n.book.Resolve)
	calls := proxy.New(proxy.Options{
		Table: route.NewTable(access.Methods(), protoregistry.GlobalFiles), Types: types,
		Daemons: daemons, Peers: peers, Forwards: n.store.Forwards, Self: n.book.Self, Renamed: n.book.Renamed, Name: address, Log: calllog.New(slog.New(slog.NewTextHandler(&n.log, nil))),
	})

	n.calls = calls

	stopping, stopped := make(chan struct{}), make(chan struct{})

	go func() {
		defer close(stopped)

		log := slog.New(slog.NewTextHandler(t.Output(), nil))
		_ = endpoint.Serve(stopping, endpoint.NewServer(n.store, log, calls.Handle), listener, func() { calls.StopStreams(t.Context(), "") })
	}()

	t.Cleanup(func() {
		close(stopping)
		<-stopped
		daemons.Close()
		peers.Close()
	})

	return n
}

func (n *node) startOwner(t testing.TB, name string) {
	t.Helper()

	listener, err := fake.Listen(n.runDir, name)
	if err != nil {
		t.Fatal(err)
	}

	server := fake.NewOwner(name)
	n.owners[name] = server

	go func() { _ = server.Serve(listener) }()

	t.Cleanup(server.Stop)
}

// dial connects as a client with a certificate.
func (n *node) dial(t testing.TB, authority *fake.Authority, pair fake.Pair) *grpc.ClientConn {
	t.Helper()

	config := &tls.Config{RootCAs: authority.Pool(), ServerName: n.address}
	if pair.Crt != nil {
		config.Certificates = []tls.Certificate{pair.TLS(t)}
	}

	conn, err := grpc.NewClient("passthrough:///"+net.JoinHostPort(n.address, n.port),
		grpc.WithTransportCredentials(credentials.NewTLS(config)))
	if err != nil {
		t.Fatal(err)
	}

	t.Cleanup(func() { _ = conn.Close() })

	return conn
}

// material is what trustd gives a control plane node of the test cluster.
func material(t testing.TB, authority *fake.Authority, addresses ...string) *endpoint.Material {
	t.Helper()

	server := authority.Server(t, addresses...)
	client := authority.Client(t, access.Impersonator)

	made, err := endpoint.Configured(endpoint.PEM(server), endpoint.PEM(client), [][]byte{authority.PEM})
	if err != nil {
		t.Fatal(err)
	}

	return made
}

func worker(t testing.TB, authority *fake.Authority, addresses ...string) *endpoint.Material {
	t.Helper()

	made, err := endpoint.Configured(endpoint.PEM(authority.Server(t, addresses...)), endpoint.PEM{}, [][]byte{authority.PEM})
	if err != nil {
		t.Fatal(err)
	}

	return made
}

// with gives a bounded context with request metadata.
func with(t testing.TB, pairs ...string) context.Context {
	t.Helper()

	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	t.Cleanup(cancel)

	return metadata.AppendToOutgoingContext(ctx, pairs...)
}

func roles(md metadata.MD) string { return strings.Join(md[fake.RolesKey], " ") }
