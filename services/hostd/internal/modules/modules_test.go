package modules

import (
	"slices"
	"strings"
	"testing"
)

func index() *Index {
	return Parse(Files{
		Dep: strings.NewReader(`kernel/drivers/virtio/virtio.ko:
kernel/drivers/virtio/virtio_ring.ko: kernel/drivers/virtio/virtio.ko
kernel/drivers/virtio/virtio_pci.ko: kernel/drivers/virtio/virtio_ring.ko kernel/drivers/virtio/virtio.ko
kernel/drivers/net/virtio_net.ko: kernel/net/net_failover.ko kernel/drivers/virtio/virtio_ring.ko kernel/drivers/virtio/virtio.ko
kernel/net/net_failover.ko:
kernel/fs/ext4/ext4.ko.xz: kernel/lib/crc16.ko
kernel/lib/crc16.ko:
kernel/crypto/crc32c-intel.ko:
kernel/drivers/hid/ring.ko: kernel/drivers/hid/ring2.ko
kernel/drivers/hid/ring2.ko: kernel/drivers/hid/ring.ko
no colon
`),
		Alias: strings.NewReader(`# Aliases extracted from modules themselves.
alias pci:v00001AF4d*sv*sd*bc*sc*i* virtio-pci
alias virtio:d00000001v* virtio_net
alias acpi*:LNXPWRBN:* button
alias fs-ext4 ext4
alias input:b*v*p*e*-e*1,* evdev
alias usb:v04[A-C]*p[!0]* cam
broken line
`),
		Softdep: strings.NewReader("softdep ext4 pre: crc32c-intel missing post: net_failover\nsoftdep broken\n"),
		Builtin: strings.NewReader("kernel/drivers/tty/serial/8250/8250.ko\n"),
	})
}

func TestResolve(t *testing.T) {
	x := index()

	for text, want := range map[string]string{
		"pci:v00001AF4d00001000sv00001AF4sd00000001bc02sc00i00": "virtio_pci",
		"pci:v00008086d0000100Esv1sd1bc02sc00i00":               "",
		"virtio:d00000001v00001AF4":                             "virtio_net",
		"acpi:LNXPWRBN:":                                        "button",
		"input:b0019v0000p0001e0000-e0,1,k74,ramlsfw":           "evdev",
		"usb:v04B9p1":  "cam",
		"usb:v04B9p0":  "",
		"usb:v04D9p1":  "",
		"fs-ext4":      "ext4",
		"ext4":         "ext4",
		"crc32c-intel": "crc32c_intel",
		"8250":         "8250",
		"fs-xfs":       "",
		"":             "",
	} {
		if got := strings.Join(x.Resolve(text), " "); got != want {
			t.Errorf("%s resolves to %q, want %q", text, got, want)
		}
	}
}

func TestPlan(t *testing.T) {
	x := index()

	for _, test := range []struct{ name, loaded, want string }{
		{"virtio_net", "", "virtio virtio_ring net_failover virtio_net"},
		{"virtio-net", "virtio virtio_ring", "net_failover virtio_net"},
		{"virtio_net", "virtio_net", ""},
		{"ext4", "", "crc32c_intel crc16 ext4 net_failover"},
		{"8250", "", ""},
		{"nothing", "", ""},
		{"ring", "", "ring2 ring"},
	} {
		got := x.Plan(test.name, func(name string) bool { return slices.Contains(strings.Fields(test.loaded), name) })
		if strings.Join(got, " ") != test.want {
			t.Errorf("%s with %q loaded: %q, want %q", test.name, test.loaded, got, test.want)
		}
	}
}

func FuzzIndex(f *testing.F) {
	f.Add("kernel/a.ko: kernel/b.ko", "alias pci:v*[0-9]d* a", "softdep a pre: b post: a", "pci:v1d2")
	f.Add("a.ko: a.ko", "alias [ a", "softdep a post: a", "[")
	f.Add("", "alias ***a*b*c*[!x-]* q", "", "abcabcabcabcabc")
	f.Fuzz(func(t *testing.T, dep, alias, softdep, text string) {
		x := Parse(Files{Dep: strings.NewReader(dep), Alias: strings.NewReader(alias), Softdep: strings.NewReader(softdep)})

		for _, name := range append(x.Resolve(text), text) {
			order := x.Plan(name, func(string) bool { return false })

			if sorted := slices.Sorted(slices.Values(order)); len(slices.Compact(sorted)) != len(order) {
				t.Errorf("a module is loaded twice: %q", order)
			}
		}
	})
}
