package footprint

import (
	"os"
	"testing"
)

func TestRelease(t *testing.T) {
	for range 3 {
		if err := Release(); err != nil {
			t.Fatal(err)
		}
	}

	if _, err := os.ReadFile("/proc/self/maps"); err != nil {
		t.Fatal(err)
	}
}

func TestReadOnly(t *testing.T) {
	for line, want := range map[string]bool{
		"00400000-0140e000 r-xp 00000000 fe:00 1 /usr/bin/etcdd":   true,
		"0140e000-02f0a000 r--p 0100e000 fe:00 1 /usr/bin/etcdd":   true,
		"02f0a000-02fa5000 rw-p 02b0a000 fe:00 1 /usr/bin/etcdd":   false,
		"02f0a000-02fa5000 r--s 02b0a000 fe:00 1 /var/lib/etcd/db": false,
		"c000000000-c000400000 rw-p 00000000 00:00 0 ":             false,
	} {
		if _, _, ok := readOnly(line, "/usr/bin/etcdd"); ok != want {
			t.Errorf("%q: %t", line, ok)
		}
	}
}
