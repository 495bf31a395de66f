package capture

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// queue is how many bytes of packets the kernel keeps for a reader that is slow; what comes more is lost.
const queue = 1 << 20

// socket hears a link.
type socket struct {
	file *os.File
	raw  interface {
		Read(f func(fd uintptr) bool) error
	}
	header bool // packets begin with an Ethernet header

	control [256]byte
}

// open gives a socket that hears from its first packet on only what the filter lets through.
func open(o Options) (*socket, error) {
	// Protocol 0 hears nothing until bind.
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return nil, fmt.Errorf("open packet socket: %w", err)
	}
	defer func() { _ = unix.Close(fd) }() // until it is that of a file

	index, header, err := link(fd, o.Link)
	if err != nil {
		return nil, err
	}

	if !header {
		_ = unix.Close(fd)

		if fd, err = unix.Socket(unix.AF_PACKET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0); err != nil {
			return nil, fmt.Errorf("open packet socket: %w", err)
		}
	}

	if err := prepare(fd, index, o); err != nil {
		return nil, err
	}

	s := &socket{file: os.NewFile(uintptr(fd), "packets of "+o.Link), header: header}
	fd = -1

	if s.raw, err = s.file.SyscallConn(); err != nil {
		return nil, errors.Join(err, s.file.Close())
	}

	return s, nil
}

// link finds a link's index and whether its packets have an Ethernet header.
func link(fd int, name string) (index int, header bool, err error) {
	request, err := unix.NewIfreq(name)
	if err != nil || name == "" {
		return 0, false, ErrNoLink
	}

	if err := unix.IoctlIfreq(fd, unix.SIOCGIFINDEX, request); err != nil {
		if errors.Is(err, unix.ENODEV) {
			err = ErrNoLink
		}

		return 0, false, err
	}

	index = int(request.Uint32())

	if err := unix.IoctlIfreq(fd, unix.SIOCGIFHWADDR, request); err != nil {
		return 0, false, fmt.Errorf("ask what kind of link %s is: %w", name, err)
	}

	kind := request.Uint16()

	return index, kind == unix.ARPHRD_ETHER || kind == unix.ARPHRD_LOOPBACK, nil
}

func prepare(fd, index int, o Options) error {
	_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, queue) // without the right to it, the usual size

	if len(o.Filter) > 0 {
		program := unix.SockFprog{Len: uint16(len(o.Filter)), Filter: &o.Filter[0]}
		if err := unix.SetsockoptSockFprog(fd, unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, &program); err != nil {
			return fmt.Errorf("%w (%w)", ErrFilter, err)
		}
	}

	if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_TIMESTAMPNS, 1); err != nil {
		return fmt.Errorf("ask for times of packets: %w", err)
	}

	if err := unix.SetsockoptInt(fd, unix.SOL_PACKET, unix.PACKET_AUXDATA, 1); err != nil {
		return fmt.Errorf("ask for VLAN tags of packets: %w", err)
	}

	if o.Promiscuous {
		// It ends with the socket.
		all := unix.PacketMreq{Ifindex: int32(index), Type: unix.PACKET_MR_PROMISC}
		if err := unix.SetsockoptPacketMreq(fd, unix.SOL_PACKET, unix.PACKET_ADD_MEMBERSHIP, &all); err != nil {
			return fmt.Errorf("make the link promiscuous: %w", err)
		}
	}

	if err := unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: networkOrder(unix.ETH_P_ALL), Ifindex: index}); err != nil {
		return fmt.Errorf("hear the link: %w", err)
	}

	return nil
}

func networkOrder(n uint16) uint16 {
	return binary.NativeEndian.Uint16(binary.BigEndian.AppendUint16(nil, n))
}

// packet is what came, its bytes in the buffer that was given.
type packet struct {
	at      time.Time
	size    int // in the buffer
	length  int // on the wire
	tag     [4]byte
	tagged  bool
	foreign bool // no IP, where there is no header to say what it is
}

// receive one packet into b; false when none waits and none is to be awaited.
func (s *socket) receive(ctx context.Context, b []byte, wait bool) (p packet, ok bool, err error) {
	var oob int

	var from unix.Sockaddr

	again := s.raw.Read(func(fd uintptr) bool {
		// With MSG_TRUNC the kernel tells the length on the wire.
		p.length, oob, _, from, err = unix.Recvmsg(int(fd), b, s.control[:], unix.MSG_TRUNC)

		return !errors.Is(err, unix.EAGAIN) || !wait
	})

	switch {
	case ctx.Err() != nil:
		return packet{}, false, ctx.Err()
	case again != nil:
		return packet{}, false, again
	case errors.Is(err, unix.EAGAIN), errors.Is(err, unix.EINTR):
		return packet{}, false, nil
	case err != nil:
		return packet{}, false, err
	}

	p.size = min(p.length, len(b))

	if l, is := from.(*unix.SockaddrLinklayer); is && !s.header {
		p.foreign = l.Protocol != networkOrder(unix.ETH_P_IP) && l.Protocol != networkOrder(unix.ETH_P_IPV6)
	}

	p.read(s.control[:oob])

	return p, true, nil
}

// read what the kernel tells beside the bytes: when it came, and the VLAN tag that it took off.
func (p *packet) read(control []byte) {
	p.at = time.Now()

	messages, err := unix.ParseSocketControlMessage(control)
	if err != nil {
		return
	}

	for _, m := range messages {
		switch {
		case m.Header.Level == unix.SOL_SOCKET && m.Header.Type == unix.SO_TIMESTAMPNS && len(m.Data) >= int(unsafe.Sizeof(unix.Timespec{})):
			seconds := binary.NativeEndian.Uint64(m.Data)
			p.at = time.Unix(int64(seconds), int64(binary.NativeEndian.Uint64(m.Data[8:])))
		case m.Header.Level == unix.SOL_PACKET && m.Header.Type == unix.PACKET_AUXDATA && len(m.Data) >= auxdata:
			p.readTag(m.Data)
		}
	}
}

// auxdata is the size of struct tpacket_auxdata.
const auxdata = 20

// readTag reads struct tpacket_auxdata of linux/if_packet.h.
func (p *packet) readTag(data []byte) {
	status := binary.NativeEndian.Uint32(data)
	if status&unix.TP_STATUS_VLAN_VALID == 0 {
		return
	}

	protocol := uint16(unix.ETH_P_8021Q)
	if status&unix.TP_STATUS_VLAN_TPID_VALID != 0 {
		protocol = binary.NativeEndian.Uint16(data[18:])
	}

	p.tagged = true
	binary.BigEndian.PutUint16(p.tag[:], protocol)
	binary.BigEndian.PutUint16(p.tag[2:], binary.NativeEndian.Uint16(data[16:]))
}
