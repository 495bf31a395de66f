// Package client reaches the gateways of a cluster the way dactylctl does: by
// the client configuration file, with the default retries, and with errors that
// say what to do next.
package client

import (
	"context"
	"fmt"
	"net"
	"os"
	"strings"
	"time"

	cosi "github.com/cosi-project/runtime/api/v1alpha1"
	"github.com/cosi-project/runtime/pkg/state"
	statewire "github.com/cosi-project/runtime/pkg/state/protobuf/client"
	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/resolver"
	"google.golang.org/grpc/resolver/manual"

	"github.com/dactyl-os/dactyl/proto/cluster"
	"github.com/dactyl-os/dactyl/proto/config/clientconfig"
	"github.com/dactyl-os/dactyl/proto/machine"
	timeapi "github.com/dactyl-os/dactyl/proto/time"
	"github.com/dactyl-os/dactyl/services/kit/router"
)

// Port is where a gateway listens when an endpoint names no port.
const Port = "50000"

// maxMessage bounds an answer; a machine configuration is at most 10 MB.
const maxMessage = 32 << 20

// Options say which cluster, through which endpoints, and which nodes in it.
type Options struct {
	Config    string // path of the client configuration; "" looks in the usual places
	Context   string // "" is the current one
	Cluster   string // asked for through a proxy that serves many clusters
	Endpoints []string
	Nodes     []string
	// Insecure talks to nodes in maintenance mode: no client certificate, and
	// the node's is taken as it is, or held to one of the Fingerprints.
	Insecure     bool
	Fingerprints []string
}

// Client is a connection to one of a cluster's endpoints. It dials at the first call.
type Client struct {
	Machine machine.MachineServiceClient
	Time    timeapi.TimeServiceClient
	Cluster cluster.ClusterServiceClient
	// State reads resources; its watches survive broken connections.
	State state.CoreState
	// Context is the name of the context in use.
	Context string
	// Endpoints are the gateways that may be dialled, host:port.
	Endpoints []string
	// Nodes are the targets. Empty: the endpoint answers for itself.
	Nodes []string

	conn *grpc.ClientConn
}

// Open makes a client from the options and the client configuration.
func Open(o Options) (*Client, error) {
	target, err := resolve(o)
	if err != nil {
		return nil, err
	}

	return open(target)
}

// OpenContext is Open for a context that stands in no file.
func OpenContext(name string, current *clientconfig.Context, o Options) (*Client, error) {
	t, err := inContext(name, current, o)
	if err != nil {
		return nil, err
	}
	if t, err = t.override(o); err != nil {
		return nil, err
	}

	return open(t)
}

// OpenNode makes a client that talks to one node directly, for maintenance mode.
func OpenNode(o Options, node string) (*Client, error) {
	o.Endpoints, o.Nodes = []string{node}, nil

	return Open(o)
}

func open(t target) (*Client, error) {
	r := manual.NewBuilderWithScheme("dactyl")
	var addresses []resolver.Address
	for _, e := range t.endpoints {
		host, _, _ := net.SplitHostPort(e)
		addresses = append(addresses, resolver.Address{Addr: e, ServerName: host})
	}
	r.InitialState(resolver.State{Addresses: addresses})
	options := []grpc.DialOption{
		grpc.WithResolvers(r),
		grpc.WithTransportCredentials(credentials.NewTLS(t.tls)),
		// gRPC's own retry would try again what cannot heal.
		grpc.WithDisableRetry(),
		grpc.WithChainUnaryInterceptor(retryUnary),
		grpc.WithChainStreamInterceptor(retryStream),
		grpc.WithDisableServiceConfig(),
		grpc.WithConnectParams(grpc.ConnectParams{
			// A gateway that was killed is back within a fraction of a second.
			Backoff:           backoff.Config{BaseDelay: 50 * time.Millisecond, Multiplier: 1.6, Jitter: 0.2, MaxDelay: time.Second},
			MinConnectTimeout: dialTimeout,
		}),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(maxMessage), grpc.MaxCallSendMsgSize(maxMessage)),
		grpc.WithUserAgent("dactylctl"),
	}
	if t.cluster != "" {
		options = append(options, grpc.WithChainUnaryInterceptor(clusterUnary(t.cluster)), grpc.WithChainStreamInterceptor(clusterStream(t.cluster)))
	}
	conn, err := grpc.NewClient("dactyl:///gateway", options...)
	if err != nil {
		return nil, fmt.Errorf("dial %s: %w", strings.Join(t.endpoints, ", "), err)
	}

	return &Client{
		Machine:   machine.NewMachineServiceClient(conn),
		Time:      timeapi.NewTimeServiceClient(conn),
		Cluster:   cluster.NewClusterServiceClient(conn),
		State:     router.Resume(statewire.NewAdapter(cosi.NewStateClient(conn), statewire.WithDisableWatchRetry())),
		Context:   t.context,
		Endpoints: t.endpoints,
		Nodes:     t.nodes,
		conn:      conn,
	}, nil
}

// Close ends the connection.
func (c *Client) Close() error { return c.conn.Close() }

// Conn is the connection itself, for calls that have no field here.
func (c *Client) Conn() *grpc.ClientConn { return c.conn }

// ToNodes addresses a call of the machine API to all targets at once.
func (c *Client) ToNodes(ctx context.Context) context.Context {
	if len(c.Nodes) == 0 {
		return ctx
	}

	return metadata.NewOutgoingContext(ctx, addressed(ctx, metadata.MD{"nodes": c.Nodes}))
}

// ToNode addresses a call to one node; a target of Targets that is the
// endpoint itself needs no address.
func (c *Client) ToNode(ctx context.Context, node string) context.Context {
	if len(c.Nodes) == 0 {
		return ctx
	}

	return WithNode(ctx, node)
}

// WithNode addresses a call to exactly one node.
func WithNode(ctx context.Context, node string) context.Context {
	return metadata.NewOutgoingContext(ctx, addressed(ctx, metadata.MD{"node": []string{node}}))
}

// addressed puts another address in place of the one that ctx has.
func addressed(ctx context.Context, to metadata.MD) metadata.MD {
	md, _ := metadata.FromOutgoingContext(ctx)
	md = md.Copy()
	md.Delete("node")
	md.Delete("nodes")

	return metadata.Join(md, to)
}

// Targets are the nodes as the NODE column names them.
func (c *Client) Targets() []string {
	if len(c.Nodes) > 0 {
		return c.Nodes
	}
	host, _, err := net.SplitHostPort(c.Endpoints[0])
	if err != nil {
		return c.Endpoints[:1]
	}

	return []string{host}
}

// WritePath is the client configuration file that changes go to.
func (o Options) WritePath() (string, error) {
	if o.Config != "" {
		return o.Config, nil
	}

	return clientconfig.WritePath(os.Getenv)
}

// ConfigPath is the client configuration file in use.
func (o Options) ConfigPath() string {
	if o.Config != "" {
		return o.Config
	}

	return clientconfig.Find(os.Getenv)
}

func clusterUnary(name string) grpc.UnaryClientInterceptor {
	return func(ctx context.Context, method string, req, reply any, cc *grpc.ClientConn, invoker grpc.UnaryInvoker, opts ...grpc.CallOption) error {
		return invoker(metadata.AppendToOutgoingContext(ctx, "cluster", name), method, req, reply, cc, opts...)
	}
}

func clusterStream(name string) grpc.StreamClientInterceptor {
	return func(ctx context.Context, desc *grpc.StreamDesc, cc *grpc.ClientConn, method string, streamer grpc.Streamer, opts ...grpc.CallOption) (grpc.ClientStream, error) {
		return streamer(metadata.AppendToOutgoingContext(ctx, "cluster", name), desc, cc, method, opts...)
	}
}
