package cluster

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// namespaceDir is where `ip netns` looks for namespaces.
const namespaceDir = "/run/netns"

// ensureBridge makes the cluster's bridge with the gateway's address, or adopts it.
func (c *Cluster) ensureBridge() error {
	if err := c.refuseTakenNetwork(); err != nil {
		return err
	}

	bridge := &netlink.Bridge{LinkAttrs: netlink.LinkAttrs{Name: c.Bridge, MTU: c.MTU}}
	if err := netlink.LinkAdd(bridge); err != nil && !errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("add bridge %s: %w", c.Bridge, err)
	}

	link, err := netlink.LinkByName(c.Bridge)
	if err != nil {
		return fmt.Errorf("find bridge %s: %w", c.Bridge, err)
	}

	address, err := netlink.ParseAddr(c.Gateway)
	if err != nil {
		return fmt.Errorf("parse gateway: %w", err)
	}

	if err := netlink.AddrReplace(link, address); err != nil {
		return fmt.Errorf("set address of %s: %w", c.Bridge, err)
	}

	if err := netlink.LinkSetUp(link); err != nil {
		return fmt.Errorf("set %s up: %w", c.Bridge, err)
	}

	return c.askOften()
}

// askOften makes the host look for a node that boots every 50 ms instead of every second, for two seconds. These settings
// are the bridge's own and go with it.
func (c *Cluster) askOften() error {
	dir := filepath.Join("/proc/sys/net/ipv4/neigh", c.Bridge)

	for name, value := range map[string]string{"retrans_time_ms": "50", "mcast_solicit": "40"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(value), 0); err != nil {
			return fmt.Errorf("tune %s: %w", c.Bridge, err)
		}
	}

	return nil
}

// forgetNeighbour makes the host ask again where the node is: packets to one that is down are lost, and TCP waits a second
// before it repeats the first.
func (m *Machine) forgetNeighbour() {
	bridge, err := netlink.LinkByName(m.cluster.Bridge)
	if err != nil {
		return
	}

	_ = netlink.NeighDel(&netlink.Neigh{LinkIndex: bridge.Attrs().Index, IP: net.ParseIP(m.Address)}) // gone is as good
}

// refuseTakenNetwork keeps the host's own networks reachable.
func (c *Cluster) refuseTakenNetwork() error {
	want, err := netip.ParsePrefix(c.CIDR)
	if err != nil {
		return fmt.Errorf("parse CIDR: %w", err)
	}

	links, err := net.Interfaces()
	if err != nil {
		return fmt.Errorf("list links: %w", err)
	}

	for _, link := range links {
		addresses, err := link.Addrs()
		if err != nil || link.Name == c.Bridge {
			continue
		}

		for _, address := range addresses {
			if have, err := netip.ParsePrefix(address.String()); err == nil && have.Overlaps(want) {
				return fmt.Errorf("network %s overlaps %s of link %s: choose another with --cidr, or remove the cluster that has it",
					c.CIDR, have, link.Name)
			}
		}
	}

	return nil
}

// removeLink removes a link that may be gone already.
func removeLink(name string) error {
	link, err := netlink.LinkByName(name)
	if err == nil {
		err = netlink.LinkDel(link)
	}

	// A veth goes with the namespace of its peer, at any moment.
	gone := errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ENODEV)
	if missing := (netlink.LinkNotFoundError{}); err == nil || gone || errors.As(err, &missing) {
		return nil
	}

	return fmt.Errorf("remove link %s: %w", name, err)
}

// plugIn lays the cable: a veth pair between the bridge and eth0 in the network namespace of pid.
func (m *Machine) plugIn(pid int) error {
	// A node that was killed leaves its cable until the kernel has cleaned its namespace.
	if err := removeLink(m.Link); err != nil {
		return err
	}

	bridge, err := netlink.LinkByName(m.cluster.Bridge)
	if err != nil {
		return fmt.Errorf("find bridge %s: %w", m.cluster.Bridge, err)
	}

	mac, err := net.ParseMAC(m.MAC)
	if err != nil {
		return fmt.Errorf("parse MAC: %w", err)
	}

	cable := &netlink.Veth{
		LinkAttrs: netlink.LinkAttrs{Name: m.Link, MTU: m.cluster.MTU, MasterIndex: bridge.Attrs().Index},
		PeerName:  "eth0", PeerHardwareAddr: mac, PeerNamespace: netlink.NsPid(pid), PeerMTU: uint32(m.cluster.MTU),
	}
	if err := netlink.LinkAdd(cable); err != nil {
		return fmt.Errorf("add link %s: %w", m.Link, err)
	}

	if err := netlink.LinkSetUp(cable); err != nil {
		return fmt.Errorf("set %s up: %w", m.Link, err)
	}

	return m.showNamespace(pid)
}

// showNamespace lets `ip netns` see the node's network namespace. A link needs no mount on the host.
func (m *Machine) showNamespace(pid int) error {
	if err := os.MkdirAll(namespaceDir, 0o755); err != nil {
		return fmt.Errorf("make %s: %w", namespaceDir, err)
	}

	link := m.namespaceLink()
	if info, err := os.Lstat(link); err == nil && info.Mode().Type() != os.ModeSymlink {
		return fmt.Errorf("%s is in the way: another program made that namespace", link)
	}

	next := link + ".new"
	_ = os.Remove(next)

	if err := errors.Join(os.Symlink("/proc/"+strconv.Itoa(pid)+"/ns/net", next), os.Rename(next, link)); err != nil {
		return fmt.Errorf("show network namespace: %w", err)
	}

	return nil
}

// unplug removes the cable and the namespace's name.
func (m *Machine) unplug() error {
	err := removeLink(m.Link)

	m.forgetNeighbour()

	for _, path := range []string{m.namespaceLink(), m.namespaceLink() + ".new"} {
		info, statErr := os.Lstat(path)
		if statErr == nil && info.Mode().Type() == os.ModeSymlink {
			err = errors.Join(err, os.Remove(path))
		}
	}

	_ = os.Remove(namespaceDir) // only when nothing is in it

	return err
}

// commandLine is what the node's /proc/cmdline says.
func (m *Machine) commandLine() string {
	prefix := netip.MustParsePrefix(m.cluster.Gateway)
	mask := net.IP(net.CIDRMask(prefix.Bits(), 32))
	line := fmt.Sprintf("talos.platform=container ip=%s::%s:%s:%s:eth0:off", m.Address, prefix.Addr(), mask, m.Name)

	// The kernel takes two resolvers.
	for i, server := range m.cluster.Nameservers {
		if i < 2 {
			line += ":" + server
		}
	}

	if m.cluster.KernelArgs != "" {
		line += " " + m.cluster.KernelArgs
	}

	return line + "\n"
}
