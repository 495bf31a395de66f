package raw

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/encoding"
	"google.golang.org/grpc/mem"
	"google.golang.org/grpc/status"

	"github.com/dactyl-os/dactyl/services/kit/access"
)

// body is a server stream of gRPC below its codec: the size of a message is known there before its bytes are let in.
type body interface {
	ReadMessageHeader(header []byte) error
	Read(size int) (mem.BufferSlice, error)
	RecvCompress() string
}

// prefix is a flag, whether the message is compressed, and the message's length (gRPC over HTTP/2).
const prefix = 5

// Receive gives the next message of a stream. Whether the method takes its size, and what hold says to it, is asked before
// the message's bytes are let in. io.EOF is the caller's good end.
func Receive(stream grpc.ServerStream, method access.Method, hold func(size int) error) (*Frame, error) {
	in, ok := grpc.ServerTransportStreamFromContext(stream.Context()).(body)
	if !ok {
		return nil, status.Error(codes.Internal, "the transport does not tell the size of a request")
	}

	var head [prefix]byte
	if err := in.ReadMessageHeader(head[:]); err != nil {
		return nil, broken(err)
	}

	size, compressed := int(binary.BigEndian.Uint32(head[1:])), head[0] != 0
	if err := access.CheckSize(method, size); err != nil {
		return nil, err
	}

	// How much comes out is not known yet.
	charge := size
	if compressed {
		charge = method.MaxRequest
	}

	if err := hold(charge); err != nil {
		return nil, err
	}

	data, err := in.Read(size)
	if err != nil {
		return nil, broken(err)
	}

	if !compressed {
		return &Frame{data: data}, nil
	}

	defer data.Free()

	return expand(data, in.RecvCompress(), method.MaxRequest)
}

// End waits for the end of a call that has only one request; more data is refused and not held.
func End(stream grpc.ServerStream) error {
	in, ok := grpc.ServerTransportStreamFromContext(stream.Context()).(body)
	if !ok {
		return nil
	}

	var head [prefix]byte

	switch err := in.ReadMessageHeader(head[:]); {
	case errors.Is(err, io.EOF):
		return nil
	case err != nil:
		return broken(err)
	default:
		return status.Error(codes.InvalidArgument, "the method takes one message, more came")
	}
}

func expand(data mem.BufferSlice, name string, limit int) (*Frame, error) {
	compressor := encoding.GetCompressor(name)
	if compressor == nil {
		return nil, status.Errorf(codes.Unimplemented, "requests compressed with %q are not understood", name)
	}

	plain, err := compressor.Decompress(data.Reader())
	if err != nil {
		return nil, status.Errorf(codes.Internal, "expand a %s request: %v", name, err)
	}

	var expanded bytes.Buffer

	if _, err := io.Copy(&expanded, io.LimitReader(plain, int64(limit)+1)); err != nil {
		return nil, status.Errorf(codes.Internal, "expand a %s request: %v", name, err)
	}

	if expanded.Len() > limit {
		return nil, status.Errorf(codes.ResourceExhausted, "a compressed request has more than the %d bytes that its method takes", limit)
	}

	return FromBytes(expanded.Bytes()), nil
}

// broken turns an error of the transport into the status that gRPC itself would give.
func broken(err error) error {
	switch {
	case errors.Is(err, io.EOF):
		return err
	case errors.Is(err, io.ErrUnexpectedEOF):
		return status.Error(codes.Internal, err.Error())
	default:
		if _, ok := status.FromError(err); ok {
			return err
		}

		return status.FromContextError(fmt.Errorf("receive: %w", err)).Err()
	}
}
