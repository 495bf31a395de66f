// Package frame lets a method answer with bytes that are already encoded, beside ordinary messages.
package frame

import (
	"google.golang.org/grpc/encoding"
	"google.golang.org/grpc/encoding/proto"
	"google.golang.org/grpc/mem"
	protobuf "google.golang.org/protobuf/proto"
)

// Raw is an encoded protobuf message in pieces; the pieces are shared and must not change.
type Raw [][]byte

// Codec is gRPC's protobuf codec that also takes Raw, and strings that are not UTF-8.
func Codec() encoding.CodecV2 { return codec{encoding.GetCodecV2(proto.Name)} }

type codec struct{ encoding.CodecV2 }

func (c codec) Marshal(v any) (mem.BufferSlice, error) {
	raw, ok := v.(Raw)
	if !ok {
		return c.message(v)
	}

	data := make(mem.BufferSlice, len(raw))
	for i, piece := range raw {
		data[i] = mem.SliceBuffer(piece)
	}

	return data, nil
}

// message encodes a message, and tries again with valid text if it cannot be.
func (c codec) message(v any) (mem.BufferSlice, error) {
	data, err := c.CodecV2.Marshal(v)

	m, ok := v.(protobuf.Message)
	if err == nil || !ok {
		return data, err
	}

	m = protobuf.Clone(m) // the method may keep its own
	validText(m.ProtoReflect())

	return c.CodecV2.Marshal(m)
}
