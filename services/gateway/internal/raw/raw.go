// Package raw moves gRPC messages without decoding them: a codec that takes the received buffers and hands them on.
package raw

import (
	"fmt"

	"google.golang.org/grpc/mem"
)

// Frame is one encoded message. It owns a reference to its buffers until Free.
type Frame struct {
	data mem.BufferSlice
}

// FromBytes makes a frame of bytes that nobody changes any more.
func FromBytes(data []byte) *Frame {
	return &Frame{data: mem.BufferSlice{mem.SliceBuffer(data)}}
}

// Len is the message's size.
func (f *Frame) Len() int { return f.data.Len() }

// Share gives the same message once more, with a reference of its own.
func (f *Frame) Share() *Frame {
	f.data.Ref()

	return &Frame{data: f.data}
}

// Track has done called when nobody has the end of the message any more, such as the transport that it was given to.
func (f *Frame) Track(done func()) {
	if len(f.data) == 0 {
		f.data = mem.BufferSlice{mem.SliceBuffer(nil)}
	}

	last := len(f.data) - 1
	inner := f.data[last]
	bytes := inner.ReadOnlyData()

	t := &tracked{inner: inner, done: done}

	// gRPC does not count who has a small buffer.
	if mem.IsBelowBufferPoolingThreshold(cap(bytes)) {
		t.copied = mem.DefaultBufferPool().Get(counted)
		bytes = append((*t.copied)[:0], bytes...)
	}

	f.data = append(f.data[:last:last], mem.NewBuffer(&bytes, t))
}

// counted is a size of buffers that gRPC counts the users of.
const counted = 2 << 10

// tracked is the pool of one buffer.
type tracked struct {
	inner  mem.Buffer
	copied *[]byte
	done   func()
}

// Get is not called for one buffer.
func (t *tracked) Get(size int) *[]byte { return mem.DefaultBufferPool().Get(size) }

// Put takes the buffer back after its last use.
func (t *tracked) Put(*[]byte) {
	if t.copied != nil {
		mem.DefaultBufferPool().Put(t.copied)
	}

	t.inner.Free()
	t.done()
}

// Append adds bytes at the end of the message without copying what is there.
func (f *Frame) Append(data []byte) {
	f.data = append(f.data[:len(f.data):len(f.data)], mem.SliceBuffer(data))
}

// Bytes gives the message in one piece; release returns it and must be called when the bytes are no longer read.
func (f *Frame) Bytes() (data []byte, release func()) {
	buffer := f.data.MaterializeToBuffer(mem.DefaultBufferPool())

	return buffer.ReadOnlyData(), buffer.Free
}

// Free gives the buffers back. A frame is not used afterwards; a second Free does nothing.
func (f *Frame) Free() {
	f.data.Free()
	f.data = nil
}

// Codec implements encoding.CodecV2 for frames.
type Codec struct{}

// Name is the content subtype that peers see: none means protobuf, and costs nothing to write.
func (Codec) Name() string { return "" }

// Marshal shares the frame's buffers with the transport; the frame keeps its own reference, so it can be sent again.
func (Codec) Marshal(v any) (mem.BufferSlice, error) {
	frame, ok := v.(*Frame)
	if !ok {
		return nil, fmt.Errorf("raw codec: %T is no frame", v)
	}

	frame.data.Ref()

	return frame.data, nil
}

// Unmarshal takes a reference to the received buffers.
func (Codec) Unmarshal(data mem.BufferSlice, v any) error {
	frame, ok := v.(*Frame)
	if !ok {
		return fmt.Errorf("raw codec: %T is no frame", v)
	}

	data.Ref()
	frame.data = data

	return nil
}
