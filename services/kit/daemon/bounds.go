package daemon

import (
	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"

	"github.com/dactyl-os/dactyl/services/kit/access"
)

// checkSize refuses a request that is larger than its method takes, unknown fields counted. gRPC has refused what no method
// of the daemon takes; only one that also has larger methods looks again.
func (e *Env) checkSize(method string, request any) error {
	if access.MaxRequest(e.Name) == access.DefaultMaxRequest {
		return nil
	}

	message, ok := request.(proto.Message)
	if !ok {
		return nil
	}

	declared, ok := access.Methods()[method]
	if !ok {
		declared = access.Method{Name: method, MaxRequest: access.DefaultMaxRequest}
	}

	return access.CheckSize(declared, proto.Size(message))
}

// boundedStream checks each message of a stream of requests.
type boundedStream struct {
	grpc.ServerStream

	check func(request any) error
}

// RecvMsg receives a message that its method may have.
func (s boundedStream) RecvMsg(message any) error {
	if err := s.ServerStream.RecvMsg(message); err != nil {
		return err
	}

	return s.check(message)
}
