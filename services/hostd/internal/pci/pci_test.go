package pci

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/dactyl-os/dactyl/proto/resource/hardware"
)

func TestRead(t *testing.T) {
	sys := t.TempDir()
	dir := filepath.Join(sys, "bus/pci/devices/0000:00:03.0")

	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}

	for name, value := range map[string]string{"class": "0x020000\n", "vendor": "0x1af4\n", "device": "0x1000\n"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(value), 0o600); err != nil {
			t.Fatal(err)
		}
	}

	ids := hardware.PCIDeviceSpec{
		Class: "Network controller", ClassID: "0x02", SubclassID: "0x00", VendorID: "0x1af4", ProductID: "0x1000",
	}
	named := ids
	named.Vendor, named.Product, named.Subclass = "Red Hat, Inc.", "Virtio network device", "Ethernet controller"

	for name, test := range map[string]struct {
		names Names
		want  hardware.PCIDeviceSpec
	}{
		"without names": {ParseNames(nil), ids},
		"with names": {ParseNames(strings.NewReader(`# comment
1af4  Red Hat, Inc.
	1000  Virtio network device
		1af4 0001  a subsystem
8086  Other
	1000  Wrong
C 02  Network controller
	00  Ethernet controller
`)), named},
	} {
		got, err := Read(sys, test.names)
		if err != nil || len(got) != 1 || got["0000:00:03.0"] != test.want {
			t.Errorf("%s: %v, %v, want %v", name, got, err, test.want)
		}
	}

	if got, err := Read(t.TempDir(), ParseNames(nil)); err != nil || len(got) != 0 {
		t.Errorf("without a bus: %v, %v", got, err)
	}
}
