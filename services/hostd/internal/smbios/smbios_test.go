package smbios_test

import (
	"testing"

	"github.com/dactyl-os/dactyl/services/hostd/internal/smbios"
)

// structure makes one of the standard's: the fixed part is set by offset, the strings follow.
func structure(kind, size byte, fields map[int][]byte, strings ...string) []byte {
	out := make([]byte, size)
	out[0], out[1] = kind, size

	for offset, value := range fields {
		copy(out[offset:], value)
	}

	for _, s := range strings {
		out = append(append(out, s...), 0)
	}

	if len(strings) == 0 {
		out = append(out, 0)
	}

	return append(out, 0)
}

func table() []byte {
	var t []byte

	t = append(t, structure(1, 27, map[int][]byte{
		4: {1}, 5: {2}, 7: {3}, 0x18: {6},
		8: {0x33, 0x22, 0x11, 0x00, 0x55, 0x44, 0x77, 0x66, 0x88, 0x99, 0xaa, 0xbb, 0xcc, 0xdd, 0xee, 0xff},
	}, "Maker", "Box", "S123")...)
	t = append(t, structure(4, 48, map[int][]byte{4: {1}, 7: {2}, 0x10: {3}, 0x14: {0xb8, 0x0b}, 0x23: {255}, 0x25: {8}, 0x2a: {0x2c, 1}},
		"CPU0", "Chips", "Fast One  ")...)
	t = append(t, structure(17, 40, map[int][]byte{0x0c: {0, 0x40}, 0x10: {1}, 0x17: {2}}, "DIMM 0", "Ram Co")...)
	t = append(t, structure(17, 40, map[int][]byte{0x0c: {0xff, 0x7f}, 0x1c: {0, 0x80, 0, 0}})...)

	return append(t, structure(127, 4, nil)...)
}

func TestParse(t *testing.T) {
	info := smbios.Parse(table())

	if s := info.System; s == nil || s.Manufacturer != "Maker" || s.ProductName != "Box" || s.SerialNumber != "S123" ||
		s.UUID != "00112233-4455-6677-8899-aabbccddeeff" || s.WakeUpType != "Power Switch" {
		t.Errorf("system: %+v", s)
	}

	if p := info.Processors; len(p) != 1 || p[0].Socket != "CPU0" || p[0].ProductName != "Fast One" || p[0].MaxSpeed != 3000 ||
		p[0].CoreCount != 300 || p[0].ThreadCount != 8 {
		t.Errorf("processors: %+v", p)
	}

	if m := info.Memory; len(m) != 2 || m[0].Size != 16384 || m[0].DeviceLocator != "DIMM 0" || m[0].Manufacturer != "Ram Co" || m[1].Size != 32768 {
		t.Errorf("memory: %+v", m)
	}
}

// A table that is cut off anywhere is read as far as it goes.
func FuzzParse(f *testing.F) {
	whole := table()
	for i := range whole {
		f.Add(whole[:i])
	}

	f.Fuzz(func(_ *testing.T, data []byte) { smbios.Parse(data) })
}
