package rtnl

import (
	"bytes"
	"encoding/binary"
	"errors"
	"slices"
	"syscall"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// dumpTries bounds how often a list is asked for again that changed while it was read. The caller comes again later.
const dumpTries = 10

// datagramSize is the most that the kernel puts into one datagram of a dump, if the reader has room for it.
const datagramSize = 32 << 10

var errInterrupted = errors.New("it changed each time while it was read")

// socketError is the socket's own trouble, not the kernel's answer: what is left of that may still come.
type socketError struct{ error }

// dump asks for all objects of one kind. header is the kind's zero message.
func (c *Conn) dump(kind netlink.HeaderType, header []byte) ([]netlink.Message, error) {
	c.mu.Lock()
	defer c.mu.Unlock()

	return whole(func() ([]netlink.Message, bool, error) {
		if err := c.begin(); err != nil {
			return nil, false, err
		}

		messages, interrupted, err := c.ask(netlink.Message{
			Header: netlink.Header{Type: kind, Flags: netlink.Request | netlink.Dump}, Data: header,
		})
		c.late = !ofKernel(err)

		return messages, interrupted, err
	})
}

// dumpFamilies asks for all objects of one kind, IPv4 and then IPv6: between the families of one dump the kernel forgets
// that it was interrupted. size is that of the kind's header, which begins with the family.
func (c *Conn) dumpFamilies(kind netlink.HeaderType, size int) (all []netlink.Message, err error) {
	for _, family := range []byte{unix.AF_INET, unix.AF_INET6} {
		header := make([]byte, size)
		header[0] = family

		messages, err := c.dump(kind, header)
		if err != nil {
			return nil, err
		}

		for _, m := range messages {
			// A kernel without the family answers with the others.
			if len(m.Data) > 0 && m.Data[0] == family {
				all = append(all, m)
			}
		}
	}

	return all, nil
}

// whole asks until an answer was not interrupted: objects may be missing from one that was, and what is missing would
// count as gone.
func whole(ask func() (messages []netlink.Message, interrupted bool, err error)) ([]netlink.Message, error) {
	for range dumpTries {
		messages, interrupted, err := ask()
		if err != nil || !interrupted {
			return messages, err
		}
	}

	return nil, errInterrupted
}

func (c *Conn) ask(question netlink.Message) ([]netlink.Message, bool, error) {
	sent, err := c.nl.Send(question)
	if err != nil {
		return nil, false, err
	}

	return c.answer(sent.Header.Sequence)
}

// answer reads the answer to a dump. The library's reader drops the last message, and with it the only flag of a dump
// whose rest went away.
func (c *Conn) answer(sequence uint32) (messages []netlink.Message, interrupted bool, err error) {
	raw, err := c.nl.SyscallConn()
	if err != nil {
		return nil, false, err
	}

	for {
		parts, err := c.receive(raw)
		if err != nil {
			return nil, false, err
		}

		for _, part := range parts {
			if part.Header.Seq != sequence {
				continue
			}

			interrupted = interrupted || part.Header.Flags&unix.NLM_F_DUMP_INTR != 0

			switch part.Header.Type {
			case unix.NLMSG_DONE, unix.NLMSG_ERROR:
				return messages, interrupted, result(part.Data)
			}

			messages = append(messages, netlink.Message{
				Header: netlink.Header{Type: netlink.HeaderType(part.Header.Type), Flags: netlink.HeaderFlags(part.Header.Flags)},
				Data:   part.Data,
			})
		}
	}
}

// receive reads one datagram, which holds several messages.
func (c *Conn) receive(raw syscall.RawConn) ([]syscall.NetlinkMessage, error) {
	var (
		size   int
		failed error
	)

	err := raw.Read(func(fd uintptr) bool {
		// With MSG_TRUNC the kernel tells the size of what is there, however little of it is read.
		if size, _, failed = unix.Recvfrom(int(fd), nil, unix.MSG_PEEK|unix.MSG_TRUNC); failed == nil {
			c.buffer = slices.Grow(c.buffer[:0], max(size, datagramSize))
			size, _, failed = unix.Recvfrom(int(fd), c.buffer[:cap(c.buffer)], 0)
		}

		return !errors.Is(failed, unix.EAGAIN) && !errors.Is(failed, unix.EINTR)
	})

	if err = errors.Join(err, failed); err != nil {
		return nil, socketError{err}
	}

	return syscall.ParseNetlinkMessage(bytes.Clone(c.buffer[:size]))
}

// result of an exchange: a negative error number, at the start of the last message.
func result(data []byte) error {
	if len(data) < 4 {
		return nil
	}

	if code := int32(binary.NativeEndian.Uint32(data)); code < 0 {
		return unix.Errno(-code)
	}

	return nil
}
