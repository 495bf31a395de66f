package rtnl

import (
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// Details are what drivers tell about a link beyond rtnetlink.
type Details struct {
	Driver, DriverVersion, FirmwareVersion, BusPath string
	// LinkState says that the cable is in.
	LinkState bool
	// SpeedMbit is 0 when unknown; Duplex and Port are the kernel's numbers (255 unknown).
	SpeedMbit, Duplex, Port int
	// PCIID is VENDOR:PRODUCT; they and the two are empty for what is not on the PCI bus.
	PCIID, VendorID, ProductID string
}

const unknown = 255

// Details asks the drivers. What a driver does not tell stays unknown; it is not an error.
// sysfs is the directory where /sys/class/net is.
func (c *Conn) Details(links []Link, sysfs string) map[uint32]Details {
	out := make(map[uint32]Details, len(links))

	for _, l := range links {
		d := Details{LinkState: l.Carrier(), Duplex: unknown, Port: unknown}

		if info, err := unix.IoctlGetEthtoolDrvinfo(c.ioc, l.Name); err == nil {
			d.Driver = known(info.Driver[:])
			d.DriverVersion = known(info.Version[:])
			d.FirmwareVersion = known(info.Fw_version[:])
			d.BusPath = known(info.Bus_info[:])
		}

		if l.Physical() {
			d.VendorID, d.ProductID = pciID(sysfs, l.Name, "vendor"), pciID(sysfs, l.Name, "device")
		}

		if d.VendorID != "" && d.ProductID != "" {
			d.PCIID = strings.ToUpper(strings.TrimPrefix(d.VendorID, "0x") + ":" + strings.TrimPrefix(d.ProductID, "0x"))
		}

		out[l.Index] = d
	}

	c.ethtoolDetails(out)

	return out
}

func (c *Conn) ethtoolDetails(out map[uint32]Details) {
	if c.eth == nil {
		return
	}

	c.mu.Lock()
	defer c.mu.Unlock()

	set := func(index int, f func(*Details)) {
		if d, ok := out[uint32(index)]; ok {
			f(&d)
			out[uint32(index)] = d
		}
	}

	if states, err := c.eth.LinkStates(); err == nil {
		for _, s := range states {
			set(s.Interface.Index, func(d *Details) { d.LinkState = s.Link })
		}
	}

	if modes, err := c.eth.LinkModes(); err == nil {
		for _, m := range modes {
			set(m.Interface.Index, func(d *Details) { d.Duplex, d.SpeedMbit = int(m.Duplex), speed(m.SpeedMegabits) })
		}
	}

	if infos, err := c.eth.LinkInfos(); err == nil {
		for _, i := range infos {
			set(i.Interface.Index, func(d *Details) { d.Port = int(i.Port) })
		}
	}
}

// speed: the kernel says -1 (as 32 unsigned bits) for unknown.
func speed(mbit int) int {
	if int32(mbit) < 0 {
		return 0
	}

	return mbit
}

// known cuts a driver's fixed-size text; "N/A" is drivers' word for nothing.
func known(text []byte) string {
	s := strings.TrimRight(string(text), "\x00")
	if s == "N/A" {
		return ""
	}

	return s
}

func pciID(sysfs, link, name string) string {
	text, err := os.ReadFile(filepath.Join(sysfs, "class/net", link, "device", name))
	if err != nil {
		return ""
	}

	return strings.TrimSpace(string(text))
}
