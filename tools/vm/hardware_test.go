package vm

import (
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// resources decodes the specs of a type on a node.
func resources[S any](t *testing.T, n *node, kind string) []S {
	t.Helper()
	var specs []S
	for decoder := json.NewDecoder(strings.NewReader(n.ctl(t, "get", kind, "-o", "json"))); decoder.More(); {
		var item struct {
			Spec S `json:"spec"`
		}
		if err := decoder.Decode(&item); err != nil {
			t.Fatalf("decode %s: %v", kind, err)
		}
		specs = append(specs, item.Spec)
	}

	return specs
}

// option gives the values of an option on QEMU's command line.
func option(t *testing.T, n *node, name string) []string {
	t.Helper()
	pid, err := n.InitPID()
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
	if err != nil {
		t.Fatal(err)
	}
	var values []string
	for args := strings.Split(string(text), "\x00"); len(args) > 1; args = args[1:] {
		if args[0] == name {
			values = append(values, args[1])
		}
	}

	return values
}

// hardware compares what the machines say of their hardware with the command line of the QEMU that they run in.
func hardware(t *testing.T, c *machines) {
	for _, n := range c.nodes {
		system := resources[struct{ Manufacturer, ProductName, UUID, SerialNumber string }](t, n, "systeminformation")
		if want := "type=1,manufacturer=%s,product=%s,uuid=%s,serial=%s"; len(system) != 1 ||
			!slices.Contains(option(t, n, "-smbios"), fmt.Sprintf(want, system[0].Manufacturer, system[0].ProductName, system[0].UUID, system[0].SerialNumber)) {
			t.Errorf("%s: SMBIOS %+v, on QEMU's command line %s", n.Name, system, option(t, n, "-smbios"))
		}

		var memory int
		for _, module := range resources[struct{ SizeMiB int }](t, n, "memorymodules") {
			memory += module.SizeMiB
		}
		if want := option(t, n, "-m"); !slices.Contains(want, strconv.Itoa(memory)) {
			t.Errorf("%s: %d MiB of memory, on QEMU's command line %s", n.Name, memory, want)
		}

		var cpus int
		for _, processor := range resources[struct{ CoreCount, ThreadCount int }](t, n, "processors") {
			cpus += max(processor.CoreCount, processor.ThreadCount)
		}
		if want := option(t, n, "-smp"); !slices.Contains(want, strconv.Itoa(cpus)) {
			t.Errorf("%s: %d CPUs, on QEMU's command line %s", n.Name, cpus, want)
		}

		if have, want := disks(t, n), images(t, n); !slices.Equal(have, want) {
			t.Errorf("%s: disks %s, on QEMU's command line %s", n.Name, have, want)
		}
		if have, want := pciDevices(t, n), monitorDevices(t, n); !slices.Equal(have, want) {
			t.Errorf("%s: PCI devices %s, in QEMU's monitor %s", n.Name, have, want)
		}
	}
}

// disks are the virtio disks that the node sees: bus, serial and size.
func disks(t *testing.T, n *node) []string {
	t.Helper()
	var lines []string
	for _, d := range resources[struct {
		Serial, Transport string
		Size              int64
	}](t, n, "disks") {
		if d.Transport == "virtio" {
			lines = append(lines, fmt.Sprintf("virtio %s %d", d.Serial, d.Size))
		}
	}
	slices.Sort(lines)

	return lines
}

// images are the disks that QEMU was given.
func images(t *testing.T, n *node) []string {
	t.Helper()
	var lines []string
	for _, device := range option(t, n, "-device") {
		if _, serial, found := strings.Cut(device, ",serial="); found && strings.HasPrefix(device, "virtio-blk") {
			info, err := os.Stat(n.DiskPath(len(lines)))
			if err != nil {
				t.Fatal(err)
			}
			lines = append(lines, fmt.Sprintf("virtio %s %d", serial, info.Size()))
		}
	}
	slices.Sort(lines)

	return lines
}

// pciDevices are the node's as vendor:product, sorted.
func pciDevices(t *testing.T, n *node) []string {
	t.Helper()
	var ids []string
	for _, d := range resources[struct {
		Vendor  string `json:"vendor_id"`
		Product string `json:"product_id"`
	}](t, n, "pcidevices") {
		ids = append(ids, strings.ReplaceAll(d.Vendor+":"+d.Product, "0x", ""))
	}
	slices.Sort(ids)

	return ids
}

// monitorDevices are those that QEMU plays.
func monitorDevices(t *testing.T, n *node) []string {
	t.Helper()
	var ids []string
	for line := range strings.Lines(n.monitor(t, "info pci")) {
		if _, id, found := strings.Cut(line, "PCI device "); found {
			id, _, _ = strings.Cut(strings.TrimSpace(id), " ")
			ids = append(ids, id)
		}
	}
	slices.Sort(ids)

	return ids
}
