package vm

import (
	"encoding/base64"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/dactyl-os/dactyl/proto/meta"
	"github.com/dactyl-os/dactyl/services/kit/kittest"
	"github.com/dactyl-os/dactyl/tools/internal/outside"
)

// installerMeta is the kernel parameter that gives META values to a machine that is not installed.
func installerMeta(values string) string {
	return "talos.environment=INSTALLER_META_BASE64=" + base64.StdEncoding.EncodeToString([]byte(values))
}

// TestMeta: values given and written before there is a META partition are used at once, are in it after the install, and both
// copies of the partition have what was acknowledged, as seen in the disk image of the machine that is off.
func TestMeta(t *testing.T) {
	c := start(t, "--skip-injecting-config", "--extra-boot-kernel-args", installerMeta("0xb=given;0xc=of the command line"))
	n := c.nodes[0]

	n.awaitMaintenance(t)
	n.insecure(t, "meta", "write", "0x0a", "hostnames: []")
	n.insecure(t, "meta", "write", "0x0b", "written")
	n.configure(t)
	n.awaitMeta(t, "0x0a=hostnames: [] 0x0b=written 0x0c=of the command line")

	boot := n.bootID(t)
	n.ctl(t, "meta", "write", "0x0d", "cut")
	n.monitor(t, "q")
	n.awaitBoot(t, boot)
	n.awaitMeta(t, "0x0a=hostnames: [] 0x0b=written 0x0c=of the command line 0x0d=cut")

	n.ctl(t, "meta", "delete", "0x0c")

	if r := n.try(t, "meta", "delete", "0x0c"); r.Err == nil || !strings.Contains(r.Stderr, "META has no key 0x0c") {
		t.Errorf("deleted twice: %s", r)
	}

	if err := n.PowerOff(); err != nil {
		t.Fatal(err)
	}

	for i, copied := range metaCopies(t, n) {
		if got, want := showMeta(copied), "0x0a=hostnames: [] 0x0b=written 0x0d=cut"; got != want {
			t.Errorf("copy %d on the disk: %q, want %q", i, got, want)
		}
	}
}

// awaitMeta waits until the node tells of these keys, and only of these.
func (n *node) awaitMeta(t *testing.T, want string) {
	t.Helper()
	kittest.AwaitNoError(t, bootLimit, func() error {
		r := n.try(t, "get", "metakeys", "-o", "jsonpath={.metadata.id}={.spec.value}")

		if got := strings.Join(strings.Split(strings.TrimSpace(r.Stdout), "\n"), " "); r.Err != nil || got != want {
			return fmt.Errorf("META of %s: %q, want %q: %s", n.Name, got, want, r.Stderr)
		}

		return nil
	})
}

// metaCopies decodes each copy of META in the disk image.
func metaCopies(t *testing.T, n *node) []meta.Values {
	t.Helper()

	sector, _, err := partition(outside.Must(t, outside.Run(t.Context(), "sgdisk", "--print", n.DiskPath(0))), "META")
	if err != nil {
		t.Fatal(err)
	}

	image, err := os.Open(n.DiskPath(0))
	if err != nil {
		t.Fatal(err)
	}
	defer image.Close()

	copies := make([]meta.Values, meta.Size/meta.SlotSize)

	for i := range copies {
		slot := make([]byte, meta.SlotSize)
		if _, err := image.ReadAt(slot, sector*512+int64(i)*meta.SlotSize); err != nil {
			t.Fatal(err)
		}

		if copies[i], _, err = meta.Decode(slot); err != nil {
			t.Errorf("copy %d: %v", i, err)
		}
	}

	return copies
}

func showMeta(values meta.Values) string {
	var out []string
	for _, key := range slices.Sorted(maps.Keys(values)) {
		out = append(out, fmt.Sprintf("0x%02x=%s", key, values[key]))
	}

	return strings.Join(out, " ")
}
