// Package frame lets a method answer with bytes that are already encoded, beside ordinary messages.
package frame

import (
	"google.golang.org/grpc/encoding"
	"google.golang.org/grpc/encoding/proto"
	"google.golang.org/grpc/mem"
)

// Raw is an encoded protobuf message in pieces; the pieces are shared and must not change.
type Raw [][]byte

// Codec is gRPC's protobuf codec that also takes Raw.
func Codec() encoding.CodecV2 { return codec{encoding.GetCodecV2(proto.Name)} }

type codec struct{ encoding.CodecV2 }

func (c codec) Marshal(v any) (mem.BufferSlice, error) {
	raw, ok := v.(Raw)
	if !ok {
		return c.CodecV2.Marshal(v)
	}

	data := make(mem.BufferSlice, len(raw))
	for i, piece := range raw {
		data[i] = mem.SliceBuffer(piece)
	}

	return data, nil
}
