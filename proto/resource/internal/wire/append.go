// Package wire reads and writes the protobuf wire format for Go values that
// resource specs are made of. It is what generated code calls.
package wire

import (
	"fmt"
	"maps"
	"math"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"time"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/structpb"
)

// Num is a field number.
type Num = protowire.Number

// Appender is a message that can be written.
type Appender interface{ AppendProto([]byte) ([]byte, error) }

// Every Append function leaves a zero value out; its Element variant, used for
// elements of a repeated field, writes it.

func AppendBool(b []byte, n Num, v bool) []byte { return AppendVarint(b, n, protowire.EncodeBool(v)) }

func AppendVarint(b []byte, n Num, v uint64) []byte {
	if v == 0 {
		return b
	}

	return AppendVarintElement(b, n, v)
}

func AppendVarintElement(b []byte, n Num, v uint64) []byte {
	return protowire.AppendVarint(protowire.AppendTag(b, n, protowire.VarintType), v)
}

func AppendFixed32(b []byte, n Num, v uint32) []byte {
	if v == 0 {
		return b
	}

	return protowire.AppendFixed32(protowire.AppendTag(b, n, protowire.Fixed32Type), v)
}

func AppendDouble(b []byte, n Num, v float64) []byte {
	if v == 0 {
		return b
	}

	return protowire.AppendFixed64(protowire.AppendTag(b, n, protowire.Fixed64Type), math.Float64bits(v))
}

func AppendString(b []byte, n Num, v string) []byte {
	if v == "" {
		return b
	}

	return AppendStringElement(b, n, v)
}

// AppendStringElement writes what is no UTF-8 as U+FFFD: protobuf has no other strings, and one such file name, kernel parameter
// or value of META would hide all that is listed with it.
func AppendStringElement(b []byte, n Num, v string) []byte {
	v = strings.ToValidUTF8(v, "\uFFFD")

	return protowire.AppendString(protowire.AppendTag(b, n, protowire.BytesType), v)
}

func AppendBytes(b []byte, n Num, v []byte) []byte {
	if len(v) == 0 {
		return b
	}

	return AppendBytesElement(b, n, v)
}

func AppendBytesElement(b []byte, n Num, v []byte) []byte {
	return protowire.AppendBytes(protowire.AppendTag(b, n, protowire.BytesType), v)
}

// AppendPacked writes a packed field of unsigned numbers.
func AppendPacked[T ~uint32 | ~uint64](b []byte, n Num, values []T) []byte {
	var packed []byte
	for _, v := range values {
		packed = protowire.AppendVarint(packed, uint64(v))
	}

	return AppendBytes(b, n, packed)
}

// AppendMessage writes a message held by value.
func AppendMessage(b []byte, n Num, m Appender) ([]byte, error) {
	inner, err := m.AppendProto(nil)
	if err != nil {
		return nil, err
	}

	return AppendBytes(b, n, inner), nil
}

// AppendElement writes a message held by pointer or in a list.
func AppendElement(b []byte, n Num, m Appender) ([]byte, error) {
	inner, err := m.AppendProto(nil)
	if err != nil {
		return nil, err
	}

	return AppendBytesElement(b, n, inner), nil
}

// AppendAddr writes common.NetIP.
func AppendAddr(b []byte, n Num, v netip.Addr) []byte {
	if !v.IsValid() {
		return b
	}

	return AppendAddrElement(b, n, v)
}

func AppendAddrElement(b []byte, n Num, v netip.Addr) []byte {
	return AppendBytesElement(b, n, AppendBytes(nil, 1, addrBytes(v)))
}

// AppendPrefix writes common.NetIPPrefix.
func AppendPrefix(b []byte, n Num, v netip.Prefix) []byte {
	if v == (netip.Prefix{}) {
		return b
	}

	return AppendPrefixElement(b, n, v)
}

func AppendPrefixElement(b []byte, n Num, v netip.Prefix) []byte {
	inner := AppendBytes(nil, 1, addrBytes(v.Addr()))

	return AppendBytesElement(b, n, AppendVarint(inner, 2, uint64(max(v.Bits(), 0))))
}

// AppendAddrPort writes common.NetIPPort.
func AppendAddrPort(b []byte, n Num, v netip.AddrPort) []byte {
	if v == (netip.AddrPort{}) {
		return b
	}

	return AppendAddrPortElement(b, n, v)
}

func AppendAddrPortElement(b []byte, n Num, v netip.AddrPort) []byte {
	inner := AppendBytes(nil, 1, addrBytes(v.Addr()))

	return AppendBytesElement(b, n, AppendVarint(inner, 2, uint64(v.Port())))
}

// addrBytes are 4 or 16 bytes in network order and the zone's name.
func addrBytes(v netip.Addr) []byte {
	data, _ := v.MarshalBinary() // it has no error to give

	return data
}

// AppendURL writes common.URL.
func AppendURL(b []byte, n Num, v *url.URL) []byte {
	if v == nil {
		return b
	}

	return AppendURLElement(b, n, v)
}

func AppendURLElement(b []byte, n Num, v *url.URL) []byte {
	return AppendBytesElement(b, n, AppendString(nil, 1, v.String()))
}

// AppendDuration writes google.protobuf.Duration.
func AppendDuration(b []byte, n Num, v time.Duration) []byte {
	if v == 0 {
		return b
	}
	inner := AppendVarint(nil, 1, uint64(int64(v/time.Second)))

	return AppendBytesElement(b, n, AppendVarint(inner, 2, uint64(int64(v%time.Second))))
}

// AppendTime writes google.protobuf.Timestamp.
func AppendTime(b []byte, n Num, v time.Time) []byte {
	if v.IsZero() {
		return b
	}
	inner := AppendVarint(nil, 1, uint64(v.Unix()))

	return AppendBytesElement(b, n, AppendVarint(inner, 2, uint64(v.Nanosecond())))
}

// AppendStringMap writes map<string, string> in the order of its keys.
func AppendStringMap(b []byte, n Num, v map[string]string) []byte {
	for _, key := range slices.Sorted(maps.Keys(v)) {
		b = AppendBytesElement(b, n, AppendString(AppendString(nil, 1, key), 2, v[key]))
	}

	return b
}

// AppendStruct writes google.protobuf.Struct.
func AppendStruct(b []byte, n Num, v map[string]any) ([]byte, error) {
	if v == nil {
		return b, nil
	}
	s, err := structpb.NewStruct(v)
	if err != nil {
		return nil, fmt.Errorf("field %d: %w", n, err)
	}
	inner, err := proto.MarshalOptions{Deterministic: true}.Marshal(s)
	if err != nil {
		return nil, fmt.Errorf("field %d: %w", n, err)
	}

	return AppendBytesElement(b, n, inner), nil
}
