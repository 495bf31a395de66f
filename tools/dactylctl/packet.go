package main

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"time"
)

// Of the format of pcap (libpcap's pcap-savefile(5)). A library that reads it makes the client 40% larger by all the protocols it knows.
const (
	pcapHeader, packetHeader = 24, 16
	pcapMicros, pcapNanos    = 0xa1b2c3d4, 0xa1b23c4d
	pcapLargest              = 256 << 10
	linkEthernet, linkRaw    = 1, 101
)

// printPackets reads pcap and writes a line for each packet.
func printPackets(r io.Reader, out io.Writer) error {
	var head [pcapHeader]byte
	if err := readWhole(r, head[:]); err != nil {
		return ended(err)
	}
	order := binary.ByteOrder(binary.LittleEndian)
	if magic := order.Uint32(head[:]); magic != pcapMicros && magic != pcapNanos {
		order = binary.BigEndian
	}
	unit := time.Microsecond
	switch order.Uint32(head[:]) {
	case pcapMicros:
	case pcapNanos:
		unit = time.Nanosecond
	default:
		return errors.New("the node does not answer in the format of pcap")
	}
	link := order.Uint32(head[20:])
	for data := make([]byte, pcapLargest); ; {
		var p [packetHeader]byte
		if err := readWhole(r, p[:]); err != nil {
			return ended(err)
		}
		size := order.Uint32(p[8:])
		if size > pcapLargest {
			return fmt.Errorf("a packet of %d bytes, more than any link carries", size)
		}
		if err := readWhole(r, data[:size]); err != nil {
			return ended(err)
		}
		at := time.Unix(int64(order.Uint32(p[:])), 0).Add(time.Duration(order.Uint32(p[4:])) * unit)
		if _, err := fmt.Fprintf(out, "%s %5d %s\n", at.UTC().Format("15:04:05.000000"), order.Uint32(p[12:]), describePacket(link, data[:size])); err != nil {
			return err
		}
	}
}

func readWhole(r io.Reader, into []byte) error {
	_, err := io.ReadFull(r, into)

	return err
}

// ended tells the end of a capture, which may come within a packet, from an error.
func ended(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return nil
	}

	return err
}

// describePacket says who sends what to whom, as far as it knows.
func describePacket(link uint32, data []byte) string {
	switch {
	case link == linkRaw && len(data) > 0 && data[0]>>4 == 6:
		return describeIPv6(data)
	case link == linkRaw:
		return describeIPv4(data)
	case link != linkEthernet || len(data) < 14:
		return fmt.Sprintf("%d bytes of link type %d", len(data), link)
	}
	kind, payload := binary.BigEndian.Uint16(data[12:]), data[14:]
	tag := ""
	for kind == 0x8100 && len(payload) >= 4 {
		tag += fmt.Sprintf("vlan %d, ", binary.BigEndian.Uint16(payload)&0xfff)
		kind, payload = binary.BigEndian.Uint16(payload[2:]), payload[4:]
	}
	switch kind {
	case 0x0800:
		return tag + describeIPv4(payload)
	case 0x86dd:
		return tag + describeIPv6(payload)
	case 0x0806:
		return tag + describeARP(payload)
	}

	return fmt.Sprintf("%s%s > %s: type 0x%04x", tag, net.HardwareAddr(data[6:12]), net.HardwareAddr(data[:6]), kind)
}

// cutShort is what is said of a packet that is too short for what it claims to be.
const cutShort = " (cut short)"

func describeARP(p []byte) string {
	if len(p) < 28 {
		return "ARP" + cutShort
	}
	from, to := netip.AddrFrom4([4]byte(p[14:18])), netip.AddrFrom4([4]byte(p[24:28]))
	if binary.BigEndian.Uint16(p[6:]) == 1 {
		return fmt.Sprintf("%s > %s: ARP who has it", from, to)
	}

	return fmt.Sprintf("%s > %s: ARP it is at %s", from, to, net.HardwareAddr(p[8:14]))
}

func describeIPv4(p []byte) string {
	if len(p) < 20 || len(p) < int(p[0]&0xf)*4 {
		return "IPv4" + cutShort
	}
	from, to := netip.AddrFrom4([4]byte(p[12:16])), netip.AddrFrom4([4]byte(p[16:20]))
	total := min(int(binary.BigEndian.Uint16(p[2:])), len(p)) // what follows is padding of the link
	header := max(int(p[0]&0xf)*4, 20)
	if offset := binary.BigEndian.Uint16(p[6:]) & 0x1fff; offset > 0 {
		return fmt.Sprintf("%s > %s: fragment at %d", from, to, int(offset)*8)
	}

	return describeTransport(from, to, p[9], p[min(header, total):total])
}

func describeIPv6(p []byte) string {
	if len(p) < 40 {
		return "IPv6" + cutShort
	}
	total := min(40+int(binary.BigEndian.Uint16(p[4:])), len(p))

	return describeTransport(netip.AddrFrom16([16]byte(p[8:24])), netip.AddrFrom16([16]byte(p[24:40])), p[6], p[40:total])
}

func describeTransport(from, to netip.Addr, protocol byte, p []byte) string {
	switch {
	case protocol == 6 && len(p) >= 20:
		flags := ""
		for i, name := range "FSRP.U" {
			if p[13]&(1<<i) != 0 {
				flags += string(name)
			}
		}

		return fmt.Sprintf("%s > %s: TCP [%s] seq %d, %d bytes", port(from, p), port(to, p[2:]), flags, binary.BigEndian.Uint32(p[4:]), max(len(p)-int(p[12]>>4)*4, 0))
	case protocol == 17 && len(p) >= 8:
		return fmt.Sprintf("%s > %s: UDP %d bytes", port(from, p), port(to, p[2:]), len(p)-8)
	case (protocol == 1 || protocol == 58) && len(p) >= 2:
		return fmt.Sprintf("%s > %s: ICMP type %d code %d", from, to, p[0], p[1])
	}

	return fmt.Sprintf("%s > %s: protocol %d, %d bytes", from, to, protocol, len(p))
}

func port(a netip.Addr, p []byte) string {
	return netip.AddrPortFrom(a, binary.BigEndian.Uint16(p)).String()
}
