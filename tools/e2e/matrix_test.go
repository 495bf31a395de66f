package e2e

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cosi-project/runtime/api/v1alpha1"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	// Every method of a node: linking a package in puts its descriptors into the table.
	_ "github.com/dactyl-os/dactyl/proto/inspect"
	_ "github.com/dactyl-os/dactyl/proto/local/dactyl/diskd/v1"
	_ "github.com/dactyl-os/dactyl/proto/local/dactyl/init/v1"
	"github.com/dactyl-os/dactyl/proto/resource"
	_ "github.com/dactyl-os/dactyl/proto/security"
	_ "github.com/dactyl-os/dactyl/proto/storage"
	"github.com/dactyl-os/dactyl/services/kit/access"
	"github.com/dactyl-os/dactyl/services/kit/kittest"
	"github.com/dactyl-os/dactyl/services/kit/kittest/door"
	"github.com/dactyl-os/dactyl/services/kit/peer"
	"github.com/dactyl-os/dactyl/tools/internal/outside"
)

const stateService = "/cosi.resource.State/"

// redacted are the sensitive types that every daemon may read, without their secrets.
var redacted = []string{"MachineConfigs.config.talos.dev"}

// caller is a process of the node, or what the gateway passes on for somebody outside.
type caller struct {
	name string
	role string
	door *outside.Door
}

func (c caller) String() string { return strings.TrimSpace(c.name + " " + c.role) }

func (c caller) context(ctx context.Context) context.Context {
	switch {
	case c.role != "":
		return metadata.AppendToOutgoingContext(ctx, access.RoleKey, c.role)
	case c.name == peer.Gateway:
		return peer.AsSelf(ctx)
	default:
		return ctx
	}
}

// mayCall is what the descriptors say.
func (c caller) mayCall(m access.Method) bool {
	switch {
	case c.name == peer.Root:
		return true
	case c.role != "":
		return slices.Contains(m.Roles, c.role)
	default:
		return slices.Contains(m.Callers, c.name)
	}
}

func (c caller) mayRead(def resource.Definition) bool {
	switch {
	case !def.Sensitive || c.name == peer.Root || c.role == access.Admin:
		return true
	case c.role != "":
		return false
	default:
		return def.MayRead(c.name) || slices.Contains(redacted, def.Type)
	}
}

func (c caller) mayWrite(def resource.Definition) bool {
	return c.role == "" && (c.name == peer.Root || c.name == def.Owner || slices.Contains(def.Writers, c.name))
}

// callers are every daemon of a control plane, root's own tools, a unit that is no daemon, and people outside.
func callers(t *testing.T) []caller {
	t.Helper()

	program := kittest.Build(t, door.Command)
	list := []caller{{name: peer.Gateway, role: access.Admin}, {name: peer.Gateway, role: access.Reader}, {name: outside.RootsTools}, {name: "containerd"}}

	for _, name := range owners() {
		list = append(list, caller{name: name})
	}

	for i := range list {
		d, err := outside.OpenDoor(t.Context(), controlPlanes[0], list[i].name, program)
		if err != nil {
			t.Fatal(err)
		}

		t.Cleanup(func() { d.Close() })

		list[i].door = d
	}

	return list
}

func owners() []string { return append(outside.Daemons(), "diskd", "init") }

func (c caller) conn(t *testing.T, owner string) *grpc.ClientConn {
	t.Helper()

	conn, err := c.door.Conn(owner)
	if err != nil {
		t.Fatal(err)
	}

	t.Cleanup(func() { conn.Close() })

	return conn
}

// bytesCodec sends what it is given.
type bytesCodec struct{}

func (bytesCodec) Name() string                       { return "proto" }
func (bytesCodec) Marshal(v any) ([]byte, error)      { return *v.(*[]byte), nil }
func (bytesCodec) Unmarshal(data []byte, v any) error { *v.(*[]byte) = data; return nil }

// knock calls a method with a request that no daemon can read: whoever may call it learns that, and nothing happens.
func knock(ctx context.Context, conn *grpc.ClientConn, m access.Method) error {
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()

	stream, err := conn.NewStream(ctx, &grpc.StreamDesc{ClientStreams: m.ClientStreaming, ServerStreams: m.ServerStreaming}, m.Name,
		grpc.ForceCodec(bytesCodec{}), grpc.WaitForReady(true))
	if err != nil {
		return err
	}

	unreadable := []byte{0xff, 0xff, 0xff}
	_ = stream.SendMsg(&unreadable) // the answer says it better
	_ = stream.CloseSend()

	var answer []byte

	return stream.RecvMsg(&answer)
}

// TestEveryCallerAndMethod: each daemon may call of each other what the descriptors say, over its real socket.
func TestEveryCallerAndMethod(t *testing.T) {
	here, allowed, refused := owners(), 0, 0

	for _, c := range callers(t) {
		for _, owner := range here {
			conn, ctx := c.conn(t, owner), c.context(t.Context())

			for _, m := range access.Methods() {
				anybodys := strings.HasPrefix(m.Name, stateService) || strings.HasPrefix(m.Name, "/grpc.health.")
				if m.Owner != owner && !(m.Owner == "" && anybodys) {
					continue
				}

				err := knock(ctx, conn, m)
				if err == nil || (status.Code(err) != codes.PermissionDenied) != c.mayCall(m) {
					t.Errorf("%s calls %s at %s: %v, declared: %v", c, m.Name, owner, err, c.mayCall(m))
				}

				if c.mayCall(m) {
					allowed++
				} else {
					refused++
				}
			}
		}
	}

	if t.Logf("%d calls allowed, %d refused", allowed, refused); allowed < 500 || refused < 500 {
		t.Error("the descriptors are not all here")
	}
}

// TestEveryCallerAndType: each daemon may read and write of each type what the descriptors say.
func TestEveryCallerAndType(t *testing.T) {
	methods, here, allowed, refused := access.Methods(), owners(), 0, 0

	for _, c := range callers(t) {
		conns := map[string]*grpc.ClientConn{}
		for _, owner := range here {
			conns[owner] = c.conn(t, owner)
		}

		for _, def := range resource.Definitions() {
			conn, ok := conns[def.Owner]
			if !ok {
				continue
			}

			for verb, call := range verbs(v1alpha1.NewStateClient(conn), def) {
				ctx, cancel := context.WithTimeout(c.context(t.Context()), 20*time.Second)
				err := call(ctx)

				cancel()

				want := c.mayCall(methods[stateService+verb])
				if slices.Contains([]string{"Create", "Update", "Destroy"}, verb) {
					want = want && c.mayWrite(def)
				} else {
					want = want && c.mayRead(def)
				}

				if got := status.Code(err) != codes.PermissionDenied; got != want || status.Code(err) == codes.Unavailable || status.Code(err) == codes.DeadlineExceeded {
					t.Errorf("%s: %s of %s: %v, declared: %v", c, verb, def.Type, err, want)
				}

				if want {
					allowed++
				} else {
					refused++
				}
			}
		}
	}

	if t.Logf("%d requests allowed, %d refused", allowed, refused); allowed < 2000 || refused < 2000 {
		t.Error("the types are not all here")
	}
}

// verbs are requests that change nothing: what is written is in no phase that there is, what is destroyed does not exist.
func verbs(client v1alpha1.StateClient, def resource.Definition) map[string]func(context.Context) error {
	const id = "not-there"

	unwritable := &v1alpha1.Resource{Metadata: &v1alpha1.Metadata{Namespace: def.Namespace, Type: def.Type, Id: id, Version: "1", Phase: "nowhere"}}

	return map[string]func(context.Context) error{
		"Get": func(ctx context.Context) error {
			return second(client.Get(ctx, &v1alpha1.GetRequest{Namespace: def.Namespace, Type: def.Type, Id: id}))
		},
		"List": func(ctx context.Context) error {
			stream, err := client.List(ctx, &v1alpha1.ListRequest{Namespace: def.Namespace, Type: def.Type})
			if err != nil {
				return err
			}

			return second(stream.Recv())
		},
		"Watch": func(ctx context.Context) error {
			stream, err := client.Watch(ctx, &v1alpha1.WatchRequest{Namespace: def.Namespace, Type: def.Type, ApiVersion: 1})
			if err != nil {
				return err
			}

			return second(stream.Recv())
		},
		"Create": func(ctx context.Context) error {
			return second(client.Create(ctx, &v1alpha1.CreateRequest{Resource: unwritable}))
		},
		"Update": func(ctx context.Context) error {
			return second(client.Update(ctx, &v1alpha1.UpdateRequest{NewResource: unwritable}))
		},
		"Destroy": func(ctx context.Context) error {
			return second(client.Destroy(ctx, &v1alpha1.DestroyRequest{Namespace: def.Namespace, Type: def.Type, Id: id}))
		},
	}
}

func second[T any](_ T, err error) error { return err }
