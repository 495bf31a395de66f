package daemon

import (
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/types/known/emptypb"

	_ "github.com/dactyl-os/dactyl/proto/machine" // methods to read

	"github.com/dactyl-os/dactyl/services/kit/access"
)

// unknown is an Empty with an unknown field of so many bytes.
func unknown(size int) *emptypb.Empty {
	message := &emptypb.Empty{}
	message.ProtoReflect().SetUnknown(protowire.AppendBytes(protowire.AppendTag(nil, 15, protowire.BytesType), make([]byte, size)))

	return message
}

// TestLargeMethodsLeaveOthersSmall asks a daemon that takes megabytes for one method.
func TestLargeMethodsLeaveOthersSmall(t *testing.T) {
	configd := &Env{Name: "configd"}
	large, small := "/machine.MachineService/ApplyConfiguration", "/cosi.resource.State/Get"

	if err := configd.checkSize(large, unknown(2<<20)); err != nil {
		t.Errorf("%s with 2 MiB: %v", large, err)
	}

	if err := configd.checkSize(small, unknown(1<<10)); err != nil {
		t.Errorf("%s with 1 KiB: %v", small, err)
	}

	if err := configd.checkSize(small, unknown(access.DefaultMaxRequest)); status.Code(err) != codes.ResourceExhausted {
		t.Errorf("%s with unknown fields over its bound gives %v", small, err)
	}
}
