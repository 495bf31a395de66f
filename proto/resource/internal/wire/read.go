package wire

import (
	"fmt"
	"math"
	"net/netip"
	"net/url"
	"slices"
	"time"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/structpb"
)

// Field is one field as it stands on the wire.
type Field struct {
	Num   Num
	typ   protowire.Type
	value uint64 // of a varint or a fixed field
	bytes []byte // of a length-delimited field
}

// Fields calls read for every field of a message.
func Fields(data []byte, read func(Field) error) error {
	for len(data) > 0 {
		num, typ, n := protowire.ConsumeTag(data)
		if n < 0 {
			return protowire.ParseError(n)
		}
		data = data[n:]
		f := Field{Num: num, typ: typ}
		if n = f.consume(data); n < 0 {
			return fmt.Errorf("field %d: %w", num, protowire.ParseError(n))
		}
		data = data[n:]
		if err := read(f); err != nil {
			return fmt.Errorf("field %d: %w", num, err)
		}
	}

	return nil
}

func (f *Field) consume(data []byte) (n int) {
	switch f.typ {
	case protowire.VarintType:
		f.value, n = protowire.ConsumeVarint(data)
	case protowire.Fixed32Type:
		var v uint32
		v, n = protowire.ConsumeFixed32(data)
		f.value = uint64(v)
	case protowire.Fixed64Type:
		f.value, n = protowire.ConsumeFixed64(data)
	case protowire.BytesType:
		f.bytes, n = protowire.ConsumeBytes(data)
	default:
		n = protowire.ConsumeFieldValue(f.Num, f.typ, data)
	}

	return n
}

func (f Field) want(typ protowire.Type) error {
	if f.typ != typ {
		return fmt.Errorf("wire type %d, want %d", f.typ, typ)
	}

	return nil
}

// Varint reads a number; a fixed 32-bit one is taken too, since small Go
// integers were written in both ways by earlier clients.
func (f Field) Varint() (uint64, error) {
	if f.typ == protowire.Fixed32Type {
		return f.value, nil
	}

	return f.value, f.want(protowire.VarintType)
}

func (f Field) Fixed32() (uint32, error) {
	v, err := f.Varint()

	return uint32(v), err
}

func (f Field) Bool() (bool, error) { return f.value != 0, f.want(protowire.VarintType) }

func (f Field) Double() (float64, error) {
	return math.Float64frombits(f.value), f.want(protowire.Fixed64Type)
}

func (f Field) String() (string, error) { return string(f.bytes), f.want(protowire.BytesType) }

// Copy reads bytes that the caller may keep.
func (f Field) Copy() ([]byte, error) { return slices.Clone(f.bytes), f.want(protowire.BytesType) }

// Message reads a message.
func (f Field) Message(m interface{ UnmarshalProto([]byte) error }) error {
	if err := f.want(protowire.BytesType); err != nil {
		return err
	}

	return m.UnmarshalProto(f.bytes)
}

// Packed reads a packed field, or one element of one that is not.
func Packed[T ~uint32 | ~uint64](f Field, values *[]T) error {
	if f.typ == protowire.VarintType {
		*values = append(*values, T(f.value))

		return nil
	}
	for data := f.bytes; len(data) > 0; {
		v, n := protowire.ConsumeVarint(data)
		if n < 0 {
			return protowire.ParseError(n)
		}
		*values = append(*values, T(v))
		data = data[n:]
	}

	return f.want(protowire.BytesType)
}

// pair reads a message whose field 1 is bytes and whose field 2 is a number.
func (f Field) pair() (first []byte, second uint64, err error) {
	if err = f.want(protowire.BytesType); err != nil {
		return nil, 0, err
	}
	err = Fields(f.bytes, func(inner Field) (err error) {
		switch inner.Num {
		case 1:
			first, err = inner.bytes, inner.want(protowire.BytesType)
		case 2:
			second, err = inner.Varint()
		}

		return err
	})

	return first, second, err
}

// Addr reads common.NetIP.
func (f Field) Addr() (addr netip.Addr, err error) {
	data, _, err := f.pair()
	if err != nil {
		return addr, err
	}

	return addr, addr.UnmarshalBinary(data)
}

// Prefix reads common.NetIPPrefix.
func (f Field) Prefix() (netip.Prefix, error) {
	var addr netip.Addr
	data, bits, err := f.pair()
	if err != nil {
		return netip.Prefix{}, err
	}
	if err := addr.UnmarshalBinary(data); err != nil {
		return netip.Prefix{}, err
	}
	if !addr.IsValid() {
		return netip.Prefix{}, nil
	}

	return netip.PrefixFrom(addr, int(min(bits, 255))), nil
}

// AddrPort reads common.NetIPPort.
func (f Field) AddrPort() (netip.AddrPort, error) {
	var addr netip.Addr
	data, port, err := f.pair()
	if err != nil {
		return netip.AddrPort{}, err
	}
	if err := addr.UnmarshalBinary(data); err != nil {
		return netip.AddrPort{}, err
	}

	return netip.AddrPortFrom(addr, uint16(port)), nil
}

// URL reads common.URL.
func (f Field) URL() (*url.URL, error) {
	text, _, err := f.pair()
	if err != nil {
		return nil, err
	}

	return url.Parse(string(text))
}

// seconds reads google.protobuf.Duration and Timestamp, which look alike.
func (f Field) seconds() (sec, nano int64, err error) {
	if err = f.want(protowire.BytesType); err != nil {
		return 0, 0, err
	}
	err = Fields(f.bytes, func(inner Field) error {
		switch inner.Num {
		case 1:
			sec = int64(inner.value)
		case 2:
			nano = int64(inner.value)
		}

		return nil
	})

	return sec, nano, err
}

func (f Field) Duration() (time.Duration, error) {
	sec, nano, err := f.seconds()

	return time.Duration(sec)*time.Second + time.Duration(nano), err
}

// Time reads google.protobuf.Timestamp as UTC.
func (f Field) Time() (time.Time, error) {
	sec, nano, err := f.seconds()

	return time.Unix(sec, nano).UTC(), err
}

// Struct reads google.protobuf.Struct.
func (f Field) Struct() (map[string]any, error) {
	var s structpb.Struct
	if err := proto.Unmarshal(f.bytes, &s); err != nil {
		return nil, err
	}

	return s.AsMap(), f.want(protowire.BytesType)
}

// StringMap adds one entry of map<string, string>.
func (f Field) StringMap(m *map[string]string) error {
	var key, value string
	err := Fields(f.bytes, func(inner Field) (err error) {
		switch inner.Num {
		case 1:
			key, err = inner.String()
		case 2:
			value, err = inner.String()
		}

		return err
	})
	if *m == nil {
		*m = map[string]string{}
	}
	(*m)[key] = value

	return err
}
