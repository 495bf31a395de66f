// Package capture records what passes a link, in the format of pcap-savefile(5).
package capture

import (
	"context"
	"encoding/binary"
	"errors"
	"time"

	"golang.org/x/sys/unix"
)

// What is wrong with a request or a link.
var (
	ErrNoLink = errors.New("no such link")
	ErrFilter = errors.New("the kernel refuses the filter: it takes a classic BPF program as tcpdump -dd prints it")
	ErrDown   = errors.New("the link is down or was removed: `get links` shows it")
)

// Of the format.
const (
	magic        = 0xa1b2c3d4 // times in microseconds
	linkEthernet = 1
	linkRaw      = 101 // an IP packet without anything before it

	recordHeader = 16
	addresses    = 12 // of an Ethernet header; a VLAN tag follows them
	tagSize      = 4
)

// Sizes in bytes.
const (
	DefaultSnap = 65535
	MaxSnap     = 256 << 10
	MaxFilter   = 4096 // instructions, the kernel's BPF_MAXINSNS

	batch = 32 << 10
)

// Options of a capture.
type Options struct {
	Link        string
	Promiscuous bool // packets for others, too
	Snap        int  // bytes kept of each packet
	Filter      []unix.SockFilter
}

// Run sends the file in pieces until ctx ends or send fails. All that it holds is one buffer of a batch and a packet; what comes while
// send waits is kept by the kernel, 1 MiB, and lost beyond.
func Run(ctx context.Context, o Options, send func([]byte) error) error {
	s, err := open(o)
	if err != nil {
		return err
	}
	defer s.file.Close()

	stop := context.AfterFunc(ctx, func() { _ = s.file.SetReadDeadline(time.Unix(1, 0)) })
	defer stop()

	buffer := make([]byte, 0, batch+recordHeader+tagSize+o.Snap)

	for buffer = fileHeader(buffer, s.header, o.Snap); ; {
		if len(buffer) > 0 {
			if err := send(buffer); err != nil {
				return err
			}
		}

		if buffer, err = s.fill(ctx, buffer[:0], o.Snap); err != nil {
			if errors.Is(err, unix.ENETDOWN) {
				return ErrDown
			}

			return err
		}
	}
}

// fill waits for a packet and takes what else is there.
func (s *socket) fill(ctx context.Context, buffer []byte, snap int) ([]byte, error) {
	for len(buffer) < batch {
		room := len(buffer) + recordHeader + tagSize
		space := buffer[room : room+snap : room+snap]

		p, ok, err := s.receive(ctx, space, len(buffer) == 0)
		if err != nil {
			return nil, err
		}

		if !ok {
			return buffer, nil
		}

		if !p.foreign {
			buffer = appendRecord(buffer, space[:p.size], p, snap)
		}
	}

	return buffer, nil
}

func fileHeader(b []byte, ethernet bool, snap int) []byte {
	kind := uint32(linkRaw)
	if ethernet {
		kind = linkEthernet
	}

	b = binary.NativeEndian.AppendUint32(b, magic)
	b = binary.NativeEndian.AppendUint16(b, 2) // version 2.4
	b = binary.NativeEndian.AppendUint16(b, 4)
	b = append(b, make([]byte, 8)...) // UTC

	return binary.NativeEndian.AppendUint32(binary.NativeEndian.AppendUint32(b, uint32(snap)), kind)
}

// appendRecord writes a packet whose bytes lie in b's room behind it, with its VLAN tag where it was on the wire.
func appendRecord(b, data []byte, p packet, snap int) []byte {
	size, length := len(data), p.length
	tagged := p.tagged && size >= addresses

	if tagged {
		size, length = min(size+tagSize, snap), length+tagSize
	}

	b = binary.NativeEndian.AppendUint32(b, uint32(p.at.Unix()))
	b = binary.NativeEndian.AppendUint32(b, uint32(p.at.Nanosecond()/1000))
	b = binary.NativeEndian.AppendUint32(b, uint32(size))
	b = binary.NativeEndian.AppendUint32(b, uint32(length))

	if !tagged {
		return append(b, data...)
	}

	start := len(b)
	b = append(b, data[:addresses]...)
	b = append(b, p.tag[:]...)
	b = append(b, data[addresses:]...)

	return b[:start+size]
}
