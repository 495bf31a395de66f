// Package route decides from a call's name, caller and metadata who serves it. It is pure: descriptors in, decision out.
package route

import (
	"path"
	"strings"

	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"

	"github.com/dactyl-os/dactyl/services/kit/access"
)

// StateService is the resource API, whose methods have the owner of the resource type they ask for.
const StateService = "/cosi.resource.State/"

// Shape says how answers of several targets can be told apart.
type Shape uint8

// Shapes of answers.
const (
	// Plain answers have no place for a target's name: one target only.
	Plain Shape = iota
	// List answers have a list of messages with metadata in field 1.
	List
	// Stream answers are streams of messages with metadata in field 1.
	Stream
)

// Method is one RPC as the gateway sees it.
type Method struct {
	access.Method

	Shape Shape
	// Short is the last part of the name.
	Short string
	// State is set for cosi.resource.State.
	State bool
}

// Table knows every method of the public API.
type Table map[string]*Method

// NewTable joins the access table with the shapes of answers, which are read from the descriptors.
func NewTable(methods map[string]access.Method, files *protoregistry.Files) Table {
	table := make(Table, len(methods))

	for name, method := range methods {
		table[name] = &Method{
			Method: method,
			Shape:  shapeOf(name, files),
			Short:  path.Base(name),
			State:  strings.HasPrefix(name, StateService),
		}
	}

	return table
}

func shapeOf(name string, files *protoregistry.Files) Shape {
	full := protoreflect.FullName(strings.ReplaceAll(strings.TrimPrefix(name, "/"), "/", "."))

	descriptor, err := files.FindDescriptorByName(full)
	if err != nil {
		return Plain
	}

	method, ok := descriptor.(protoreflect.MethodDescriptor)
	if !ok {
		return Plain
	}

	if method.IsStreamingServer() {
		if hasMetadata(method.Output()) {
			return Stream
		}

		return Plain
	}

	list := method.Output().Fields().ByNumber(1)
	if list != nil && list.IsList() && list.Message() != nil && hasMetadata(list.Message()) {
		return List
	}

	return Plain
}

func hasMetadata(message protoreflect.MessageDescriptor) bool {
	field := message.Fields().ByNumber(1)

	return field != nil && !field.IsList() && field.Message() != nil && field.Message().FullName() == "common.Metadata"
}
