// Package proxy carries calls: from the public endpoint to the daemons of this node and to the gateways of others.
package proxy

import (
	"context"
	"net"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"

	"github.com/dactyl-os/dactyl/services/gateway/internal/bounds"
	"github.com/dactyl-os/dactyl/services/gateway/internal/caller"
	"github.com/dactyl-os/dactyl/services/gateway/internal/raw"
	"github.com/dactyl-os/dactyl/services/gateway/internal/route"
	"github.com/dactyl-os/dactyl/services/gateway/internal/upstream"
	"github.com/dactyl-os/dactyl/services/kit/access"
	"github.com/dactyl-os/dactyl/services/kit/calllog"
	"github.com/dactyl-os/dactyl/services/kit/metrics"
	"github.com/dactyl-os/dactyl/services/kit/poke"
)

// Request metadata of the contract.
const (
	nodesKey     = "nodes"
	nodeKey      = "node"
	proxyFromKey = "proxyfrom"

	// targetKey is the name of a member by which a caller meant the node that a call is forwarded to. That node knows best
	// whether it is its name: names change hands, and the news takes a moment.
	targetKey = "dactyl-target"

	// localPrefix begins the keys that daemons of one node use among themselves.
	localPrefix = "dactyl-"
)

// Options are what a proxy works with.
type Options struct {
	Table   route.Table
	Types   func(name string) (route.Type, bool)
	Daemons *upstream.Daemons
	Peers   *upstream.Peers
	// Forwards says whether this node may call others for its callers.
	Forwards func() bool
	// Self says whether a target is this node; local is the address on which the call came.
	Self func(target string, local net.Addr) bool
	// Renamed says whether a caller's name for this node is not its name.
	Renamed func(target string, local net.Addr) bool
	// Name is what other nodes see in proxyfrom.
	Name string
	// Log has a line for each call.
	Log *calllog.Log
}

// Proxy is the handler of every public call.
type Proxy struct {
	Options

	// Count has every call of a method that exists.
	Count metrics.Calls

	sessions sessions
}

// New makes a proxy.
func New(options Options) *Proxy {
	return &Proxy{Options: options, sessions: sessions{open: map[*session]struct{}{}, left: poke.New()}}
}

// Handle serves one call; it is a grpc.StreamHandler for unknown services.
func (p *Proxy) Handle(_ any, stream grpc.ServerStream) error {
	begin := time.Now()
	name, _ := grpc.MethodFromServerStream(stream)
	err := p.handle(name, stream)

	// Callers choose the names of methods that do not exist.
	if _, ok := p.Table[name]; ok {
		p.Count.Count(name, err)
		p.Log.Ended(name, begin, err, func() ([]string, string) { return who(stream.Context()) })
	}

	return err
}

// who gives the roles that a call was made with, and the address that it came from.
func who(ctx context.Context) (roles []string, from string) {
	if info, ok := caller.FromContext(ctx); ok {
		roles = info.Caller.Effective(metadata.ValueFromIncomingContext(ctx, access.RoleKey))
	}

	if p, ok := peer.FromContext(ctx); ok {
		from = caller.Origin(p.Addr)
	}

	return roles, from
}

func (p *Proxy) handle(name string, stream grpc.ServerStream) error {
	ctx := stream.Context()

	info, ok := caller.FromContext(ctx)
	if !ok {
		return status.Error(codes.Unauthenticated, "the connection is not authenticated")
	}

	info.Use.Enter()
	defer info.Use.Leave()

	if err := trusted(info); err != nil {
		info.Use.Retire()

		return err
	}

	// A copy that this call owns: what is left of it after the gateway's own keys travels on.
	md, _ := metadata.FromIncomingContext(ctx)

	decide := p.Table.Decide
	if info.Caller.Certificate == nil {
		decide = p.Table.DecideMaintenance
	}

	plan, err := decide(route.Call{
		Method: name, Caller: info.Caller,
		Nodes: md[nodesKey], Node: md[nodeKey], ProxyFrom: md[proxyFromKey], Roles: md[access.RoleKey],
	})
	if err != nil {
		return err
	}

	if err := p.meant(info, md); err != nil {
		return err
	}

	hand, err := info.Account.Enter(len(plan.Targets), plan.Method.Streaming)
	if err != nil {
		return err
	}

	defer hand.Leave()

	call := &call{proxy: p, plan: plan, stream: stream, info: info, hand: hand, md: onward(md, plan.Roles)}

	return call.serve(ctx)
}

// meant refuses a call that another gateway forwarded by a name that this node does not have any more. Unavailable: when the
// news has reached that gateway, the same call goes where it should.
func (p *Proxy) meant(info *caller.AuthInfo, md metadata.MD) error {
	target := md[targetKey]
	if len(target) != 1 || len(md[proxyFromKey]) == 0 || !info.Caller.Gateway() || !p.Renamed(target[0], info.Local) {
		return nil
	}

	return status.Errorf(codes.Unavailable, "%q is not the name of this node any more: try again, or use its address", target[0])
}

// onward removes what is the gateway's own from the caller's metadata and sets the roles that count.
func onward(md metadata.MD, roles []string) metadata.MD {
	for key := range md {
		switch key {
		case nodesKey, nodeKey, proxyFromKey, "user-agent", "content-type", ":authority", "grpc-accept-encoding":
			delete(md, key)
		default:
			if strings.HasPrefix(key, localPrefix) {
				delete(md, key)
			}
		}
	}

	md[access.RoleKey] = roles

	return md
}

// call is one public call on its way.
type call struct {
	proxy  *Proxy
	plan   route.Plan
	stream grpc.ServerStream
	info   *caller.AuthInfo
	hand   *bounds.Call
	md     metadata.MD
	// begun is set when the caller's header is settled.
	begun bool
}

func (c *call) serve(ctx context.Context) error {
	method := c.plan.Method

	if !method.ClientStreaming && !method.ServerStreaming {
		return c.unary(ctx)
	}

	// A stream may outlive the trust it began with, and the gateway does not wait for it when it stops.
	ctx, done, err := c.proxy.sessions.enter(ctx, c.info)
	if err != nil {
		return err
	}

	defer done()

	if method.ClientStreaming {
		err = c.upload(ctx)
	} else {
		err = c.download(ctx)
	}

	if cause := ended(ctx); cause != nil {
		return cause
	}

	return err
}

// receive gives the next message of the caller; its bytes are in hand until the call ends or they are released.
func (c *call) receive() (*raw.Frame, error) {
	return raw.Receive(c.stream, c.plan.Method.Method, c.hand.Hold)
}

// request gives the only message of the caller.
func (c *call) request() (*raw.Frame, error) {
	request, err := c.receive()
	if err != nil {
		return nil, err
	}

	if err := raw.End(c.stream); err != nil {
		request.Free()

		return nil, err
	}

	return request, nil
}

// answer sends a message to the caller, and takes it. It is in the caller's hand until the transport has written it: who does not read fills
// no more of the gateway than is the caller's.
func (c *call) answer(message any) error {
	frame := message.(*raw.Frame) //nolint:forcetypeassert // the proxy moves frames

	sent, err := c.hand.Send(frame.Len())
	if err != nil {
		return err
	}

	frame.Track(sent)

	err = c.stream.SendMsg(frame)

	frame.Free()

	// What gRPC gets for a stream that has ended it forgets, without a word to those who count its buffers.
	if c.stream.Context().Err() != nil {
		sent()
	}

	return err
}

// here tells whether a target is this node.
func (c *call) here(target string) bool { return target == "" || c.proxy.Self(target, c.info.Local) }

// target gives the connection to a target, until Done, and the context to call it with; "" is this node.
func (c *call) target(ctx context.Context, target string, request *raw.Frame) (*upstream.Conn, context.Context, error) {
	if c.here(target) {
		conn, err := c.local(request)

		return conn, metadata.NewOutgoingContext(ctx, c.md), err
	}

	if !c.proxy.Forwards() {
		return nil, nil, status.Errorf(codes.PermissionDenied,
			"a worker has no certificate to call other nodes: use a control plane node as the endpoint to reach %s", target)
	}

	conn, member, err := c.proxy.Peers.Get(ctx, target, c.info.Account)
	md := c.md.Copy()
	md[proxyFromKey] = []string{c.proxy.Name}

	if member {
		md[targetKey] = []string{target}
	}

	return conn, metadata.NewOutgoingContext(ctx, md), err
}

// local gives the connection to the daemon of this node that owns the method or the resource type of the request.
func (c *call) local(request *raw.Frame) (*upstream.Conn, error) {
	owner := c.plan.Method.Owner

	if c.plan.Method.State {
		data, release := request.Bytes()
		defer release()

		var err error
		if owner, err = route.ResourceOwner(c.plan.Method, data, c.plan.Roles, c.proxy.Types); err != nil {
			return nil, err
		}
	}

	if owner == "" {
		return nil, status.Errorf(codes.Unimplemented, "no daemon of this system serves %s", c.plan.Method.Name)
	}

	return c.proxy.Daemons.Get(owner)
}

// single gives the only target of a call that is not merged.
func (c *call) single() string {
	if c.plan.Reach == route.One {
		return c.plan.Targets[0]
	}

	return ""
}
