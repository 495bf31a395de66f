package wire_test

import (
	"errors"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"github.com/dactyl-os/dactyl/proto/common"
	"github.com/dactyl-os/dactyl/proto/machine"
	"github.com/dactyl-os/dactyl/services/gateway/internal/wire"
)

func encode(t testing.TB, message proto.Message) []byte {
	t.Helper()

	data, err := proto.Marshal(message)
	if err != nil {
		t.Fatal(err)
	}

	return data
}

func TestAppendStampedMergesAnswers(t *testing.T) {
	first := encode(t, &machine.HostnameResponse{Messages: []*machine.Hostname{{Hostname: "a"}, {Hostname: "b"}}})
	second := encode(t, &machine.HostnameResponse{Messages: []*machine.Hostname{
		{Metadata: &common.Metadata{Hostname: "inner", Error: "kept"}, Hostname: "c"},
	}})

	merged, err := wire.AppendStamped(nil, first, wire.Hostname("10.5.0.2"))
	if err != nil {
		t.Fatal(err)
	}

	if merged, err = wire.AppendStamped(merged, second, wire.Hostname("10.5.0.3")); err != nil {
		t.Fatal(err)
	}

	merged = append(merged, wire.Element(wire.Failure("10.5.0.4", status.Error(codes.Unavailable, "no route")))...)

	var got machine.HostnameResponse
	if err := proto.Unmarshal(merged, &got); err != nil {
		t.Fatal(err)
	}

	want := &machine.HostnameResponse{Messages: []*machine.Hostname{
		{Metadata: &common.Metadata{Hostname: "10.5.0.2"}, Hostname: "a"},
		{Metadata: &common.Metadata{Hostname: "10.5.0.2"}, Hostname: "b"},
		{Metadata: &common.Metadata{Hostname: "10.5.0.3", Error: "kept"}, Hostname: "c"},
		{Metadata: &common.Metadata{
			Hostname: "10.5.0.4",
			Error:    "rpc error: code = Unavailable desc = no route",
			Status:   status.New(codes.Unavailable, "no route").Proto(),
		}},
	}}

	if !proto.Equal(&got, want) {
		t.Errorf("got  %v\nwant %v", &got, want)
	}
}

func TestStreamMessageTakesMetadataAtItsEnd(t *testing.T) {
	message := append(encode(t, &common.Data{Bytes: []byte("log line")}), wire.Hostname("node-1")...)

	var got common.Data
	if err := proto.Unmarshal(message, &got); err != nil {
		t.Fatal(err)
	}

	if got.GetMetadata().GetHostname() != "node-1" || string(got.GetBytes()) != "log line" {
		t.Errorf("got %v", &got)
	}
}

func TestFailureOfPlainError(t *testing.T) {
	var got common.Data
	if err := proto.Unmarshal(wire.Failure("n", errors.New("boom")), &got); err != nil {
		t.Fatal(err)
	}

	if got.GetMetadata().GetError() != "boom" || codes.Code(got.GetMetadata().GetStatus().GetCode()) != codes.Unknown {
		t.Errorf("got %v", &got)
	}
}

func TestAppendStampedRefusesOtherShapes(t *testing.T) {
	for name, answer := range map[string][]byte{
		"truncated":       {0x0a, 0x05, 0x01},
		"not a list":      protowire.AppendVarint(protowire.AppendTag(nil, 1, protowire.VarintType), 7),
		"field number 0":  {0x02, 0x00},
		"unclosed group":  {0x13},
		"overlong varint": {0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x01},
	} {
		t.Run(name, func(t *testing.T) {
			if got, err := wire.AppendStamped(nil, answer, wire.Hostname("x")); err == nil {
				t.Errorf("stamped to %x", got)
			}

			if _, err := wire.Stamped(answer, 3); err == nil {
				t.Error("length was given")
			}
		})
	}
}

// FuzzRewrite: whatever the answer's bytes, stamping it equals decoding it and setting the host name on each element.
func FuzzRewrite(f *testing.F) {
	f.Add([]byte{}, "10.5.0.2")
	f.Add(encode(f, &machine.ServiceListResponse{Messages: []*machine.ServiceList{
		{Services: []*machine.ServiceInfo{{Id: "init", State: "Running"}}},
		{Metadata: &common.Metadata{Hostname: "x", Error: "y"}},
	}}), "node-1")
	f.Add([]byte{0x0a, 0x00, 0x12, 0x01, 0x41, 0x0a, 0x02, 0x0a, 0x00}, "")
	f.Add([]byte{0x0b, 0x0c}, "group")

	f.Fuzz(func(t *testing.T, answer []byte, hostname string) {
		stamp := wire.Hostname(hostname)
		stamped, err := wire.AppendStamped(nil, answer, stamp)

		if length, lengthErr := wire.Stamped(answer, len(stamp)); (lengthErr == nil) != (err == nil) || length != len(stamped) {
			t.Fatalf("length %d (%v) of %d bytes (%v)", length, lengthErr, len(stamped), err)
		}

		var want, got machine.ServiceListResponse
		if proto.Unmarshal(answer, &want) != nil || err != nil {
			return
		}

		for _, message := range want.GetMessages() {
			if message.Metadata == nil {
				message.Metadata = &common.Metadata{}
			}

			message.Metadata.Hostname = hostname
		}

		if err := proto.Unmarshal(stamped, &got); err != nil {
			// proto3 strings are UTF-8; the target comes from an HTTP/2 header, which gRPC keeps printable.
			return
		}

		if hostname != "" && !proto.Equal(&got, &want) {
			t.Errorf("got  %v\nwant %v", &got, &want)
		}
	})
}
