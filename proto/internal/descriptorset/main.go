// Command descriptorset writes the descriptors of google.rpc.Status and the
// well-known types as a FileDescriptorSet on standard output, so that protoc
// needs no copy of another project's .proto files.
package main

import (
	"fmt"
	"os"

	_ "google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/descriptorpb"
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "descriptorset:", err)
		os.Exit(1)
	}
}

func run() error {
	set := &descriptorpb.FileDescriptorSet{}
	for _, path := range []string{"google/protobuf/any.proto", "google/rpc/status.proto"} {
		file, err := protoregistry.GlobalFiles.FindFileByPath(path)
		if err != nil {
			return err
		}
		set.File = append(set.File, protodesc.ToFileDescriptorProto(protoreflect.FileDescriptor(file)))
	}
	raw, err := proto.Marshal(set)
	if err != nil {
		return err
	}
	_, err = os.Stdout.Write(raw)

	return err
}
