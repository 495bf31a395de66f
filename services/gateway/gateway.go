// Package gateway wires the public endpoint of a node: certificates, routing to daemons and to other nodes.
package gateway

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"net"
	"os"
	"slices"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/reflect/protoregistry"

	initv1 "github.com/dactyl-os/dactyl/proto/local/dactyl/init/v1"
	kitv1 "github.com/dactyl-os/dactyl/proto/local/dactyl/kit/v1"
	"github.com/dactyl-os/dactyl/proto/resource"
	"github.com/dactyl-os/dactyl/services/gateway/internal/endpoint"
	"github.com/dactyl-os/dactyl/services/gateway/internal/metrics"
	"github.com/dactyl-os/dactyl/services/gateway/internal/names"
	"github.com/dactyl-os/dactyl/services/gateway/internal/proxy"
	"github.com/dactyl-os/dactyl/services/gateway/internal/route"
	"github.com/dactyl-os/dactyl/services/gateway/internal/upstream"
	"github.com/dactyl-os/dactyl/services/gateway/internal/watch"
	"github.com/dactyl-os/dactyl/services/kit/access"
	"github.com/dactyl-os/dactyl/services/kit/calllog"
	"github.com/dactyl-os/dactyl/services/kit/daemon"
	"github.com/dactyl-os/dactyl/services/kit/peer"
)

// The public endpoint, as init's manifest names it and without init.
const (
	listener       = "tcp-50000"
	defaultAddress = ":50000"
	// metricsName is that of the listener for metrics: an operator who does not want it takes it out of the manifest.
	metricsName = "tcp-50003"
	// addressVariable is where the gateway listens when nobody hands a listener over.
	addressVariable = "DACTYL_LISTEN"
)

// New registers the gateway's tasks.
func New(env *daemon.Env) error {
	tune()

	public, err := listen(env)
	if err != nil {
		return err
	}

	_, port, err := net.SplitHostPort(public.Addr().String())
	if err != nil {
		return fmt.Errorf("address of the listener: %w", err)
	}

	if err := resource.Register(); err != nil {
		return fmt.Errorf("register resource types: %w", err)
	}

	store := endpoint.NewStore()
	book := names.NewBook()
	daemons := upstream.NewDaemons(env.RunDir)
	// All gateways of a cluster listen on one port.
	peers := upstream.NewPeers(port, store.Peer, book.Resolve)

	calls := proxy.New(proxy.Options{
		Table:    route.NewTable(access.Methods(), protoregistry.GlobalFiles),
		Types:    types,
		Daemons:  daemons,
		Peers:    peers,
		Forwards: store.Forwards,
		Self:     book.Self,
		Renamed:  book.Renamed,
		Name:     public.Addr().String(),
		Log:      calllog.New(env.Log),
	})

	certificates := &watch.Certificates{State: env.State, Store: store, Log: env.Log, Changed: func() {
		calls.Recheck()
		store.Retire()
		// What was opened with the certificate before may not be let in any more.
		peers.Renew()
	}}

	if figures, ok := env.Listener(metricsName); ok {
		serveMetrics(env, figures, store, calls)
	}

	env.Go("certificates", certificates.Run)
	env.Go("names", func(ctx context.Context) error { return watch.Names(ctx, env.State, book) })
	env.Go("public", func(context.Context) error {
		defer daemons.Close()
		defer peers.Close()

		return endpoint.Serve(env.Stopping(), endpoint.NewServer(store, env.Log, calls.Handle), public, func() { stopStreams(env, calls) })
	})

	return nil
}

// lastWords bounds what the end of streams waits for, which is there at once on a node that is well.
const lastWords = time.Second

// stopStreams tells callers whether this node goes down or only its gateway.
func stopStreams(env *daemon.Env, calls *proxy.Proxy) {
	ctx, cancel := context.WithTimeout(context.Background(), lastWords)
	defer cancel()

	doing := ""

	if conn, err := env.Dial("init"); err == nil {
		// Without an answer it is a restart, as far as anybody knows.
		answer, _ := initv1.NewInitServiceClient(conn).GoingDown(peer.AsSelf(ctx), &initv1.GoingDownRequest{}, grpc.WaitForReady(false))
		doing = answer.GetDoing()
	}

	calls.StopStreams(ctx, doing)
}

// listen takes the listener that init holds, or makes one when the gateway runs alone.
func listen(env *daemon.Env) (net.Listener, error) {
	if public, ok := env.Listener(listener); ok {
		return public, nil
	}

	address := cmp.Or(os.Getenv(addressVariable), defaultAddress)

	public, err := net.Listen("tcp", address)
	if err != nil {
		return nil, fmt.Errorf("listen on %s: %w", address, err)
	}

	return public, nil
}

// serveMetrics gathers the metrics of all daemons behind a listener of their own.
func serveMetrics(env *daemon.Env, figures net.Listener, store *endpoint.Store, calls *proxy.Proxy) {
	server := &metrics.Server{Store: store, Log: env.Log, Source: metrics.Source{
		RunDir: env.RunDir, Daemons: owners(), Dial: env.Dial, Self: env.Name, Own: env.ReadMetrics,
	}}

	env.Metrics(func() []*kitv1.Family {
		return []*kitv1.Family{calls.Count.Family("dactyl_public_calls_total", "Calls from outside the node, by method and code.")}
	})
	env.Go("metrics", func(context.Context) error { return server.Serve(env.Stopping(), figures) })
}

// owners are the daemons that own a method or a resource type.
func owners() []string {
	names := map[string]bool{}

	for _, method := range access.Methods() {
		names[method.Owner] = true
	}

	for _, definition := range resource.Definitions() {
		names[definition.Owner] = true
	}

	delete(names, "")

	return slices.Sorted(maps.Keys(names))
}

func types(name string) (route.Type, bool) {
	definition, ok := resource.Lookup(name)

	return route.Type{Owner: definition.Owner, Sensitive: definition.Sensitive}, ok
}
