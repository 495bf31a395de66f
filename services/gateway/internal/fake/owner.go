// Package fake stands in for what surrounds the gateway in tests: owners of every method, authorities, resources.
package fake

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/dynamicpb"

	"github.com/dactyl-os/dactyl/services/gateway/internal/raw"
	"github.com/dactyl-os/dactyl/services/kit/access"
)

// Keys of request metadata that tell an owner how to behave, and of response metadata that tell what it has seen.
const (
	FailKey  = "fake-fail"  // end with this gRPC code's name instead of an answer
	DelayKey = "fake-delay" // answer after this duration
	StallKey = "fake-stall" // a stream does not end by itself
	LastKey  = "fake-last"  // a stream has one more message after this duration, and ends as Unavailable

	OwnerKey   = "fake-owner"
	RolesKey   = "fake-roles"
	KeysKey    = "fake-keys"
	TrailerKey = "fake-trailer"
)

// StreamLength is the number of messages of every stream.
const StreamLength = 3

// Owners are the daemons whose methods and resources a node has.
func Owners() []string {
	return []string{"init", "configd", "hostd", "networkd", "timed", "trustd", "discoveryd", "etcdd", "podd"}
}

// Listen makes an owner's socket in place of one that a killed predecessor left.
func Listen(runDir, owner string) (net.Listener, error) {
	path := filepath.Join(runDir, owner+".sock")

	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}

	listener, err := net.Listen("unix", path)
	if err != nil {
		return nil, err
	}

	// A handed-over socket outlives the process; one of our own is replaced by the next.
	listener.(*net.UnixListener).SetUnlinkOnClose(false) //nolint:forcetypeassert // of network unix

	return listener, nil
}

// NewOwner makes a server that answers every method of the public API as the named daemon.
func NewOwner(name string, options ...grpc.ServerOption) *grpc.Server {
	owner := &owner{name: name}

	return grpc.NewServer(append(options,
		grpc.ForceServerCodecV2(raw.Codec{}), grpc.UnknownServiceHandler(owner.handle), grpc.WaitForHandlers(false))...)
}

type owner struct{ name string }

func (o *owner) handle(_ any, stream grpc.ServerStream) error {
	name, _ := grpc.MethodFromServerStream(stream)
	md, _ := metadata.FromIncomingContext(stream.Context())

	keys := make([]string, 0, len(md))
	for key := range md {
		keys = append(keys, key)
	}

	if err := stream.SetHeader(metadata.MD{OwnerKey: {o.name}, RolesKey: md[access.RoleKey], KeysKey: keys}); err != nil {
		return err
	}

	stream.SetTrailer(metadata.Pairs(TrailerKey, o.name))

	if err := o.behave(stream.Context(), md); err != nil {
		return err
	}

	method := access.Methods()[name]
	if err := consume(stream, method.ClientStreaming); err != nil {
		return err
	}

	count := 1
	if method.ServerStreaming {
		count = StreamLength
	}

	for range count {
		if err := stream.SendMsg(raw.FromBytes(answer(name, o.name))); err != nil {
			return err
		}
	}

	if len(md[StallKey]) > 0 {
		<-stream.Context().Done()
	}

	if last := md[LastKey]; len(last) > 0 {
		if err := wait(stream.Context(), last[0]); err != nil {
			return err
		}

		if err := stream.SendMsg(raw.FromBytes(answer(name, o.name))); err != nil {
			return err
		}

		return status.Error(codes.Unavailable, "the owner has said its last")
	}

	return nil
}

func wait(ctx context.Context, text string) error {
	duration, err := time.ParseDuration(text)
	if err != nil {
		return err
	}

	select {
	case <-time.After(duration):
		return nil
	case <-ctx.Done():
		return status.FromContextError(ctx.Err()).Err()
	}
}

func (o *owner) behave(ctx context.Context, md metadata.MD) error {
	if delay := md[DelayKey]; len(delay) > 0 {
		if err := wait(ctx, delay[0]); err != nil {
			return err
		}
	}

	if fail := md[FailKey]; len(fail) > 0 {
		for code := codes.OK; code <= codes.Unauthenticated; code++ {
			if strings.EqualFold(code.String(), fail[0]) {
				refusal, err := status.New(code, "as asked").WithDetails(status.New(code, "detail").Proto())
				if err != nil {
					return err
				}

				return refusal.Err()
			}
		}
	}

	return nil
}

func consume(stream grpc.ServerStream, all bool) error {
	for {
		err := stream.RecvMsg(new(raw.Frame))

		switch {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return err
		case !all:
			return nil
		}
	}
}

// answer is a message of the method's output type; where it has a list, the list has one element.
func answer(name, text string) []byte {
	full := protoreflect.FullName(strings.ReplaceAll(strings.TrimPrefix(name, "/"), "/", "."))

	descriptor, err := protoregistry.GlobalFiles.FindDescriptorByName(full)
	if err != nil {
		return nil
	}

	method, ok := descriptor.(protoreflect.MethodDescriptor)
	if !ok {
		return nil
	}

	message := dynamicpb.NewMessage(method.Output())
	fillable := protoreflect.Message(message)

	if list := method.Output().Fields().ByName("messages"); list != nil && list.IsList() {
		fillable = message.Mutable(list).List().AppendMutable().Message()
	}

	// One field tells elements apart in tests.
	for _, field := range []protoreflect.Name{"hostname", "bytes", "message", "name"} {
		if found := fillable.Descriptor().Fields().ByName(field); found != nil && !found.IsList() {
			switch found.Kind() {
			case protoreflect.StringKind:
				fillable.Set(found, protoreflect.ValueOfString(text))
			case protoreflect.BytesKind:
				fillable.Set(found, protoreflect.ValueOfBytes([]byte(text)))
			}
		}
	}

	data, err := proto.Marshal(message)
	if err != nil {
		return nil
	}

	return data
}
