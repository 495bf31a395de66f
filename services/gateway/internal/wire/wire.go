// Package wire edits encoded protobuf answers without decoding them. It relies on one rule of the encoding: a message
// field that appears twice is merged, so appending `metadata` to a message sets it and keeps what was there.
package wire

import (
	"errors"
	"fmt"

	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
)

// Field numbers of the public API: every answer of a fan-out method is a list in field 1 whose elements have
// common.Metadata in field 1; messages of a stream have the same metadata in field 1 of their own.
const (
	listField     = 1
	metadataField = 1

	hostnameField = 1
	errorField    = 2
	statusField   = 3
)

var errMalformed = errors.New("malformed message")

// Hostname encodes field 1: common.Metadata{hostname}.
func Hostname(hostname string) []byte {
	return metadata(protowire.AppendString(protowire.AppendTag(nil, hostnameField, protowire.BytesType), hostname))
}

// Failure encodes field 1: common.Metadata{hostname, error, status} for a target that did not answer. On its own it is
// a whole message of a stream.
func Failure(hostname string, err error) []byte {
	body := protowire.AppendString(protowire.AppendTag(nil, hostnameField, protowire.BytesType), hostname)
	body = protowire.AppendString(protowire.AppendTag(body, errorField, protowire.BytesType), err.Error())

	if details, marshalErr := proto.Marshal(status.Convert(err).Proto()); marshalErr == nil {
		body = protowire.AppendBytes(protowire.AppendTag(body, statusField, protowire.BytesType), details)
	}

	return metadata(body)
}

// Element encodes an answer whose list has one element with nothing but the given metadata field.
func Element(metadata []byte) []byte {
	return protowire.AppendBytes(protowire.AppendTag(nil, listField, protowire.BytesType), metadata)
}

func metadata(body []byte) []byte {
	return protowire.AppendBytes(protowire.AppendTag(nil, metadataField, protowire.BytesType), body)
}

// Stamped gives the length that AppendStamped adds for the same arguments, or an error when answer is not a message or
// its field 1 is not a list of messages.
func Stamped(answer []byte, extra int) (int, error) {
	total := 0

	for rest := answer; len(rest) > 0; {
		field, element, isElement, err := next(rest)
		if err != nil {
			return 0, err
		}

		if isElement {
			total += protowire.SizeTag(listField) + protowire.SizeBytes(len(element)+extra)
		} else {
			total += len(field)
		}

		rest = rest[len(field):]
	}

	return total, nil
}

// AppendStamped appends answer to dst with metadata (an encoded field) appended to every element of its list. Answers
// of several targets appended one after another are one merged answer.
func AppendStamped(dst, answer, metadata []byte) ([]byte, error) {
	for rest := answer; len(rest) > 0; {
		field, element, isElement, err := next(rest)
		if err != nil {
			return nil, err
		}

		if isElement {
			dst = protowire.AppendTag(dst, listField, protowire.BytesType)
			dst = protowire.AppendVarint(dst, uint64(len(element)+len(metadata)))
			dst = append(append(dst, element...), metadata...)
		} else {
			dst = append(dst, field...)
		}

		rest = rest[len(field):]
	}

	return dst, nil
}

// next splits the first field off a message: its bytes with the tag and, for a list element, the element's own bytes.
func next(message []byte) (field, element []byte, isElement bool, err error) {
	number, kind, tagLength := protowire.ConsumeTag(message)
	if tagLength < 0 {
		return nil, nil, false, fmt.Errorf("%w: %w", errMalformed, protowire.ParseError(tagLength))
	}

	length := protowire.ConsumeFieldValue(number, kind, message[tagLength:])
	if length < 0 {
		return nil, nil, false, fmt.Errorf("%w: %w", errMalformed, protowire.ParseError(length))
	}

	field = message[:tagLength+length]

	if number != listField {
		return field, nil, false, nil
	}

	if kind != protowire.BytesType {
		return nil, nil, false, fmt.Errorf("%w: field %d is no list of messages", errMalformed, listField)
	}

	element, _ = protowire.ConsumeBytes(message[tagLength:])

	return field, element, true, nil
}
