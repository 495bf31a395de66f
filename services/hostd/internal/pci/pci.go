// Package pci tells what is on the PCI bus.
package pci

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/dactyl-os/dactyl/proto/resource/hardware"
)

// Names gives the names of numbers: vendors, products, classes.
type Names struct {
	vendors, classes     map[uint32]string
	products, subclasses map[uint32]string
}

// classNames are the base classes of the PCI code and id assignment specification, for images without pci.ids.
func classNames() map[uint32]string {
	names := map[uint32]string{}

	for i, name := range []string{
		"Unclassified device", "Mass storage controller", "Network controller", "Display controller", "Multimedia controller",
		"Memory controller", "Bridge", "Communication controller", "Generic system peripheral", "Input device controller",
		"Docking station", "Processor", "Serial bus controller", "Wireless controller", "Intelligent controller",
		"Satellite communications controller", "Encryption controller", "Signal processing controller",
	} {
		names[uint32(i)] = name
	}

	return names
}

// ParseNames reads pci.ids(5): "vvvv  Vendor", tab "dddd  Device", and "C cc  Class", tab "ss  Subclass".
func ParseNames(r io.Reader) Names {
	n := Names{classes: classNames(), vendors: map[uint32]string{}, products: map[uint32]string{}, subclasses: map[uint32]string{}}
	if r == nil {
		return n
	}

	above, class := uint32(0), false

	for scanner := bufio.NewScanner(r); scanner.Scan(); {
		line := scanner.Text()

		switch {
		case line == "" || line[0] == '#' || strings.HasPrefix(line, "\t\t"):
		case line[0] == '\t':
			if id, name, ok := entry(line[1:]); ok && class {
				n.subclasses[above<<8|id] = name
			} else if ok {
				n.products[above<<16|id] = name
			}
		default:
			rest, isClass := strings.CutPrefix(line, "C ")
			id, name, ok := entry(rest)
			above, class = id, isClass

			if ok && isClass {
				n.classes[id] = name
			} else if ok {
				n.vendors[id] = name
			}
		}
	}

	return n
}

func entry(line string) (uint32, string, bool) {
	number, name, found := strings.Cut(line, "  ")
	id, err := strconv.ParseUint(number, 16, 16)

	return uint32(id), name, found && err == nil
}

// Read gives every device below sys/bus/pci/devices by its address.
func Read(sys string, names Names) (map[string]hardware.PCIDeviceSpec, error) {
	dir := filepath.Join(sys, "bus", "pci", "devices")

	list, err := os.ReadDir(dir)
	if os.IsNotExist(err) {
		return map[string]hardware.PCIDeviceSpec{}, nil
	}

	if err != nil {
		return nil, fmt.Errorf("list PCI devices: %w", err)
	}

	out := map[string]hardware.PCIDeviceSpec{}

	for _, device := range list {
		class, err1 := number(filepath.Join(dir, device.Name(), "class"))
		vendor, err2 := number(filepath.Join(dir, device.Name(), "vendor"))
		product, err3 := number(filepath.Join(dir, device.Name(), "device"))

		if err1 == nil && err2 == nil && err3 == nil { // it may have gone meanwhile
			out[device.Name()] = names.spec(class, vendor, product)
		}
	}

	return out, nil
}

func number(path string) (uint32, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return 0, err
	}

	value, err := strconv.ParseUint(strings.TrimSpace(string(data)), 0, 32)

	return uint32(value), err
}

// spec of a device; class is base class, subclass and programming interface.
func (n Names) spec(class, vendor, product uint32) hardware.PCIDeviceSpec {
	return hardware.PCIDeviceSpec{
		Class: n.classes[class>>16], Subclass: n.subclasses[class>>8], Vendor: n.vendors[vendor], Product: n.products[vendor<<16|product],
		ClassID: fmt.Sprintf("0x%02x", class>>16), SubclassID: fmt.Sprintf("0x%02x", class>>8&0xff),
		VendorID: fmt.Sprintf("0x%04x", vendor), ProductID: fmt.Sprintf("0x%04x", product),
	}
}
