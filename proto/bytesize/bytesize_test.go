package bytesize_test

import (
	"strings"
	"testing"

	"github.com/dactyl-os/dactyl/proto/bytesize"
)

func TestParse(t *testing.T) {
	for text, want := range map[string]uint64{
		"0": 0, "5": 5, "5B": 5, " 5 b ": 5, "1.5": 1,
		"512k": 512e3, "512K": 512e3, "512kB": 512e3, "512KB": 512e3, "512Ki": 512 << 10, "512KiB": 512 << 10, "512kib": 512 << 10,
		"96Mi": 96 << 20, "100MB": 100e6, "100 MB": 100e6, "1.5Gi": 3 << 29, "10GB": 10e9, "4GiB": 4 << 30, "2 tb": 2e12, "2Ti": 2 << 40,
		"3PB": 3e15, "3P": 3e15, "3PiB": 3 << 50, "7EiB": 7 << 60, "1EB": 1e18,
	} {
		if got, err := bytesize.Parse(text); err != nil || got != want {
			t.Errorf("%q: %d, %v, want %d", text, got, err, want)
		}
	}

	for _, text := range []string{"", "MB", "-1", "64Foo", "4GiBB", "4 G B", "1e400", "inf", "NaN", "8EiB", "four", "4GiB 2"} {
		if got, err := bytesize.Parse(text); err == nil || !strings.Contains(err.Error(), "write it like 4GiB") {
			t.Errorf("%q: %d, %v", text, got, err)
		}
	}
}

func TestUnit(t *testing.T) {
	for name, want := range map[string]uint64{"kB": 1e3, "EB": 1e18, "KiB": 1 << 10, "GiB": 1 << 30, "EiB": 1 << 60, "KB": 0, "gib": 0, "Gi": 0, "": 0} {
		if got, known := bytesize.Unit(name); got != want || known != (want != 0) {
			t.Errorf("%q: %d, %v, want %d", name, got, known, want)
		}
	}
}
