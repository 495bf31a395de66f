// Package smbios reads what the firmware tells about the machine (DMTF DSP0134, System Management BIOS reference).
package smbios

import (
	"bytes"
	"encoding/binary"
	"fmt"

	"github.com/dactyl-os/dactyl/proto/resource/hardware"
)

// Types of structures.
const (
	typeSystem    = 1
	typeProcessor = 4
	typeMemory    = 17
	typeEnd       = 127
)

// Info is what hostd publishes of it.
type Info struct {
	System     *hardware.SystemInformationSpec
	Processors []hardware.ProcessorSpec
	Memory     []hardware.MemoryModuleSpec
}

// Parse reads the table as the kernel gives it in /sys/firmware/dmi/tables/DMI. A table that ends early gives what was
// read so far.
func Parse(table []byte) Info {
	var out Info

	for {
		s, rest, ok := next(table)
		if !ok || s.kind == typeEnd {
			return out
		}

		switch s.kind {
		case typeSystem:
			out.System = s.system()
		case typeProcessor:
			out.Processors = append(out.Processors, s.processor())
		case typeMemory:
			out.Memory = append(out.Memory, s.memory())
		}

		table = rest
	}
}

// structure is a header with fixed fields, followed by its strings.
type structure struct {
	kind    byte
	fixed   []byte // with the 4 bytes of the header, so that offsets are the standard's
	strings [][]byte
}

func next(table []byte) (s structure, rest []byte, ok bool) {
	if len(table) < 4 || table[1] < 4 || int(table[1]) > len(table) {
		return s, nil, false
	}

	s.kind, s.fixed = table[0], table[:table[1]]
	body := table[table[1]:]

	end := bytes.Index(body, []byte{0, 0})
	if end < 0 {
		return s, nil, false
	}

	s.strings = bytes.Split(body[:end], []byte{0})

	return s, body[end+2:], true
}

func (s structure) number(offset, size int) uint64 {
	if offset+size > len(s.fixed) {
		return 0 // an older version of the standard
	}

	raw := make([]byte, 8)
	copy(raw, s.fixed[offset:offset+size])

	return binary.LittleEndian.Uint64(raw)
}

func (s structure) text(offset int) string {
	i := int(s.number(offset, 1))
	if i == 0 || i > len(s.strings) {
		return ""
	}

	return string(bytes.TrimSpace(s.strings[i-1]))
}

var wakeUp = [...]string{
	"Reserved", "Other", "Unknown", "APM Timer", "Modem Ring", "LAN Remote", "Power Switch", "PCI PME#", "AC Power Restored",
}

func (s structure) system() *hardware.SystemInformationSpec {
	out := &hardware.SystemInformationSpec{
		Manufacturer: s.text(4), ProductName: s.text(5), Version: s.text(6), SerialNumber: s.text(7), SKUNumber: s.text(0x19),
	}

	if len(s.fixed) >= 0x18 {
		u := s.fixed[8:24] // the first three fields are little-endian
		out.UUID = fmt.Sprintf("%02x%02x%02x%02x-%02x%02x-%02x%02x-%x-%x", u[3], u[2], u[1], u[0], u[5], u[4], u[7], u[6], u[8:10], u[10:])
	}

	if w := s.number(0x18, 1); w < uint64(len(wakeUp)) {
		out.WakeUpType = wakeUp[w]
	}

	return out
}

func (s structure) processor() hardware.ProcessorSpec {
	// A count of 255 means that the wide field has it.
	count := func(narrow, wide int) uint32 {
		if n := s.number(narrow, 1); n != 255 {
			return uint32(n)
		}

		return uint32(s.number(wide, 2))
	}

	return hardware.ProcessorSpec{
		Socket: s.text(4), Manufacturer: s.text(7), ProductName: s.text(0x10), MaxSpeed: uint32(s.number(0x14, 2)),
		BootSpeed: uint32(s.number(0x16, 2)), Status: uint32(s.number(0x18, 1)), SerialNumber: s.text(0x20),
		AssetTag: s.text(0x21), PartNumber: s.text(0x22), CoreCount: count(0x23, 0x2a), CoreEnabled: count(0x24, 0x2c),
		ThreadCount: count(0x25, 0x2e),
	}
}

func (s structure) memory() hardware.MemoryModuleSpec {
	out := hardware.MemoryModuleSpec{
		DeviceLocator: s.text(0x10), BankLocator: s.text(0x11), Speed: uint32(s.number(0x15, 2)), Manufacturer: s.text(0x17),
		SerialNumber: s.text(0x18), AssetTag: s.text(0x19), ProductName: s.text(0x1a),
	}

	switch size := s.number(0x0c, 2); {
	case size == 0xffff: // not known
	case size == 0x7fff: // too large for this field
		out.Size = uint32(s.number(0x1c, 4) & 0x7fffffff)
	case size&0x8000 != 0: // in KiB
		out.Size = uint32(size&0x7fff) / 1024
	default:
		out.Size = uint32(size)
	}

	return out
}
