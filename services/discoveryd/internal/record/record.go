// Package record is what nodes tell each other about themselves, its form on
// the wire and the rule by which the newer of two records is known.
package record

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"google.golang.org/protobuf/encoding/protowire"
)

// Record is one node's own description.
type Record struct {
	NodeID string
	// Version only grows; the node itself counts it, no clock is involved.
	Version         uint64
	Hostname        string
	Nodename        string
	OperatingSystem string
	MachineType     int32
	APIServerPort   int32
	Addresses       []netip.Addr
	// Health is Ready, or in words what the node is doing or lacks; empty from a node that does not tell.
	Health string
}

// Ready is the health of a node that runs and misses nothing.
const Ready = "ready"

// Limits that no honest record comes near.
const (
	maxSize      = 64 << 10
	maxText      = 256
	maxAddresses = 1024
	maxRecords   = 4096
)

// Field numbers of the wire form; unknown ones are skipped, so that later
// versions may add some.
const (
	fieldNodeID protowire.Number = iota + 1
	fieldVersion
	fieldHostname
	fieldNodename
	fieldOperatingSystem
	fieldMachineType
	fieldAPIServerPort
	fieldAddress
	fieldHealth
)

const fieldRecord protowire.Number = 1

// Same compares everything but the version.
func (r Record) Same(other Record) bool {
	return r.NodeID == other.NodeID && r.Hostname == other.Hostname && r.Nodename == other.Nodename &&
		r.OperatingSystem == other.OperatingSystem && r.MachineType == other.MachineType &&
		r.APIServerPort == other.APIServerPort && r.Health == other.Health && slices.Equal(r.Addresses, other.Addresses)
}

// Encode is the wire form (protobuf).
func (r Record) Encode() []byte {
	var b []byte

	b = appendText(b, fieldNodeID, r.NodeID)
	b = appendNumber(b, fieldVersion, r.Version)
	b = appendText(b, fieldHostname, r.Hostname)
	b = appendText(b, fieldNodename, r.Nodename)
	b = appendText(b, fieldOperatingSystem, r.OperatingSystem)
	b = appendNumber(b, fieldMachineType, uint64(uint32(r.MachineType)))
	b = appendNumber(b, fieldAPIServerPort, uint64(uint32(r.APIServerPort)))

	for _, addr := range r.Addresses {
		b = protowire.AppendTag(b, fieldAddress, protowire.BytesType)
		b = protowire.AppendBytes(b, addr.WithZone("").AsSlice())
	}

	return appendText(b, fieldHealth, cut(r.Health))
}

// cut keeps a text within what others read.
func cut(text string) string {
	if len(text) > maxText {
		return strings.ToValidUTF8(text[:maxText], "")
	}

	return text
}

func appendText(b []byte, field protowire.Number, text string) []byte {
	if text == "" {
		return b
	}

	return protowire.AppendString(protowire.AppendTag(b, field, protowire.BytesType), text)
}

func appendNumber(b []byte, field protowire.Number, number uint64) []byte {
	if number == 0 {
		return b
	}

	return protowire.AppendVarint(protowire.AppendTag(b, field, protowire.VarintType), number)
}

// Decode reads the wire form.
func Decode(data []byte) (Record, error) {
	var r Record

	if len(data) > maxSize {
		return r, fmt.Errorf("record of %d bytes, %d at most", len(data), maxSize)
	}

	err := fields(data, func(field protowire.Number, number uint64, value []byte) error {
		return r.set(field, number, value)
	})

	switch {
	case err != nil:
		return Record{}, err
	case r.NodeID == "":
		return Record{}, errors.New("record without a node")
	}

	return r, nil
}

func (r *Record) set(field protowire.Number, number uint64, value []byte) error {
	texts := map[protowire.Number]*string{
		fieldNodeID: &r.NodeID, fieldHostname: &r.Hostname, fieldNodename: &r.Nodename, fieldOperatingSystem: &r.OperatingSystem, fieldHealth: &r.Health,
	}

	if text, ok := texts[field]; ok {
		if len(value) > maxText {
			return fmt.Errorf("field %d has %d characters, %d at most", field, len(value), maxText)
		}

		*text = string(value)

		return nil
	}

	switch field {
	case fieldVersion:
		r.Version = number
	case fieldMachineType:
		r.MachineType = int32(uint32(number)) //nolint:gosec // the writer's own truncation
	case fieldAPIServerPort:
		r.APIServerPort = int32(uint32(number)) //nolint:gosec // the writer's own truncation
	case fieldAddress:
		addr, ok := netip.AddrFromSlice(value)
		if !ok || len(r.Addresses) == maxAddresses {
			return errors.New("bad address in a record")
		}

		r.Addresses = append(r.Addresses, addr)
	}

	return nil
}

// EncodeAll is the form in which whole tables are exchanged.
func EncodeAll(records []Record) []byte {
	var b []byte

	for _, r := range records {
		b = protowire.AppendTag(b, fieldRecord, protowire.BytesType)
		b = protowire.AppendBytes(b, r.Encode())
	}

	return b
}

// DecodeAll reads a whole table.
func DecodeAll(data []byte) ([]Record, error) {
	var records []Record

	err := fields(data, func(field protowire.Number, _ uint64, value []byte) error {
		if field != fieldRecord {
			return nil
		}

		r, err := Decode(value)
		if err != nil {
			return err
		}

		if len(records) == maxRecords {
			return fmt.Errorf("more than %d records", maxRecords)
		}

		records = append(records, r)

		return nil
	})
	if err != nil {
		return nil, err
	}

	return records, nil
}

func fields(data []byte, visit func(field protowire.Number, number uint64, value []byte) error) error {
	for len(data) > 0 {
		field, kind, n := protowire.ConsumeTag(data)
		if n < 0 {
			return fmt.Errorf("decode record: %w", protowire.ParseError(n))
		}

		data = data[n:]

		var (
			number uint64
			value  []byte
		)

		switch kind {
		case protowire.VarintType:
			number, n = protowire.ConsumeVarint(data)
		case protowire.BytesType:
			value, n = protowire.ConsumeBytes(data)
		default:
			n = protowire.ConsumeFieldValue(field, kind, data)
		}

		if n < 0 {
			return fmt.Errorf("decode record: %w", protowire.ParseError(n))
		}

		data = data[n:]

		if err := visit(field, number, value); err != nil {
			return err
		}
	}

	return nil
}
