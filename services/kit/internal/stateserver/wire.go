package stateserver

import (
	"google.golang.org/protobuf/encoding/protowire"

	"github.com/cosi-project/runtime/api/v1alpha1"
	"github.com/cosi-project/runtime/pkg/state"

	"github.com/dactyl-os/dactyl/services/kit/internal/frame"
)

// Field numbers of cosi's state.proto. Answers are put together from bytes encoded before, not from messages.
const (
	fieldResource = 1 // GetResponse, ListResponse, Event
	fieldType     = 2 // Event
	fieldOld      = 3 // Event
	fieldError    = 4 // Event
	fieldBookmark = 5 // Event
	fieldEvent    = 1 // WatchResponse
)

// answer wraps an encoded resource as GetResponse or ListResponse, which have the same shape.
func answer(resource []byte) frame.Raw {
	head := protowire.AppendTag(make([]byte, 0, 8), fieldResource, protowire.BytesType)

	return frame.Raw{protowire.AppendVarint(head, uint64(len(resource))), resource}
}

// wireEvent is an event with its resources encoded.
type wireEvent struct {
	resource, old []byte
	err           string
	bookmark      []byte
	typ           v1alpha1.EventType
}

func (e wireEvent) size() int {
	n := protowire.SizeTag(fieldType) + protowire.SizeVarint(uint64(e.typ))

	for _, field := range []int{len(e.resource), len(e.old), len(e.err), len(e.bookmark)} {
		if field > 0 {
			n += 1 + protowire.SizeBytes(field)
		}
	}

	return n
}

// appendEvent adds the event to a WatchResponse.
func appendEvent(b []byte, e wireEvent) []byte {
	b = protowire.AppendTag(b, fieldEvent, protowire.BytesType)
	b = protowire.AppendVarint(b, uint64(e.size()))
	b = appendBytes(b, fieldResource, e.resource)
	b = protowire.AppendTag(b, fieldType, protowire.VarintType)
	b = protowire.AppendVarint(b, uint64(e.typ))
	b = appendBytes(b, fieldOld, e.old)
	b = appendBytes(b, fieldError, []byte(e.err))

	return appendBytes(b, fieldBookmark, e.bookmark)
}

func appendBytes(b []byte, field protowire.Number, value []byte) []byte {
	if len(value) == 0 {
		return b
	}

	return protowire.AppendBytes(protowire.AppendTag(b, field, protowire.BytesType), value)
}

func wireType(t state.EventType) v1alpha1.EventType {
	switch t {
	case state.Created:
		return v1alpha1.EventType_CREATED
	case state.Updated:
		return v1alpha1.EventType_UPDATED
	case state.Destroyed:
		return v1alpha1.EventType_DESTROYED
	case state.Bootstrapped:
		return v1alpha1.EventType_BOOTSTRAPPED
	case state.Errored:
		return v1alpha1.EventType_ERRORED
	default:
		return v1alpha1.EventType_NOOP
	}
}
