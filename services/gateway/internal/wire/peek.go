package wire

import (
	"fmt"

	"google.golang.org/protobuf/encoding/protowire"
)

// Field numbers of cosi.resource.State requests.
const (
	requestType = 2 // Get, List, Watch, Destroy: type

	createResource = 1 // CreateRequest.resource
	updateResource = 2 // UpdateRequest.new_resource
	metadataOf     = 1 // Resource.metadata
	typeOf         = 2 // Metadata.type
)

// ResourceType reads the resource type out of a cosi.resource.State request. method is the last part of its name. A
// field given twice counts as the decoder of the owner will count it: messages merge and the last string wins, so a
// request cannot show one type here and another one there.
func ResourceType(method string, request []byte) (string, error) {
	var path []protowire.Number

	switch method {
	case "Get", "List", "Watch", "Destroy":
		path = []protowire.Number{requestType}
	case "Create":
		path = []protowire.Number{createResource, metadataOf, typeOf}
	case "Update":
		path = []protowire.Number{updateResource, metadataOf, typeOf}
	default:
		return "", fmt.Errorf("unknown method %s", method)
	}

	found, err := lastString(request, path...)
	if err != nil || found == nil {
		return "", err
	}

	return *found, nil
}

// lastString follows path through nested messages and gives the last string found at its end, nil when there is none.
func lastString(message []byte, path ...protowire.Number) (*string, error) {
	var found *string

	for rest := message; len(rest) > 0; {
		number, kind, tagLength := protowire.ConsumeTag(rest)
		if tagLength < 0 {
			return nil, fmt.Errorf("%w: %w", errMalformed, protowire.ParseError(tagLength))
		}

		length := protowire.ConsumeFieldValue(number, kind, rest[tagLength:])
		if length < 0 {
			return nil, fmt.Errorf("%w: %w", errMalformed, protowire.ParseError(length))
		}

		if number == path[0] && kind == protowire.BytesType {
			value, _ := protowire.ConsumeBytes(rest[tagLength:])

			inner, err := descend(value, path[1:])
			if err != nil {
				return nil, err
			}

			// An inner message without the field leaves what an earlier one set.
			if inner != nil {
				found = inner
			}
		}

		rest = rest[tagLength+length:]
	}

	return found, nil
}

func descend(value []byte, path []protowire.Number) (*string, error) {
	if len(path) > 0 {
		return lastString(value, path...)
	}

	text := string(value)

	return &text, nil
}
