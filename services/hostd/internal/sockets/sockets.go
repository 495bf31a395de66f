// Package sockets reads the kernel's tables of sockets below /proc/net (format: Documentation/networking/proc_net_tcp.rst
// of the kernel; udp, udplite and raw are alike).
package sockets

import (
	"bufio"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"io"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// Protocols lists the names that List takes: the tables' names below /proc/net.
func Protocols() []string {
	return []string{"tcp", "tcp6", "udp", "udp6", "udplite", "udplite6", "raw", "raw6"}
}

// Socket is one row of a table. State and Timer are the kernel's numbers.
type Socket struct {
	Protocol                        string
	Local, Remote                   netip.AddrPort
	State, Timer                    uint8
	TxQueue, RxQueue                uint64
	TimerWhen, Retransmits, Timeout uint64
	UID                             uint32
	Inode, Ref, Pointer             uint64
}

// Listening says that the socket waits for peers.
func (s Socket) Listening() bool {
	const listen, closed = 10, 7

	return s.State == listen || s.State == closed && !s.Connected()
}

// Connected says that the socket has a peer.
func (s Socket) Connected() bool { return s.Remote.Port() != 0 || !s.Remote.Addr().IsUnspecified() }

// List reads one table. A protocol that the kernel does not have gives none.
func List(procNet, protocol string) ([]Socket, error) {
	f, err := os.Open(filepath.Join(procNet, protocol))

	switch {
	case os.IsNotExist(err):
		return nil, nil
	case err != nil:
		return nil, fmt.Errorf("open table of %s sockets: %w", protocol, err)
	}
	defer f.Close()

	list, err := parse(f, protocol)
	if err != nil {
		return nil, fmt.Errorf("read table of %s sockets: %w", protocol, err)
	}

	return list, nil
}

func parse(r io.Reader, protocol string) ([]Socket, error) {
	var list []Socket

	scanner := bufio.NewScanner(r)
	scanner.Scan() // column titles

	for scanner.Scan() {
		s, err := parseRow(scanner.Text())
		if err != nil {
			return nil, fmt.Errorf("row %q: %w", scanner.Text(), err)
		}

		s.Protocol = protocol
		list = append(list, s)
	}

	return list, scanner.Err()
}

// Columns of a row.
const (
	colLocal = iota + 1
	colRemote
	colState
	colQueues
	colTimer
	colRetransmits
	colUID
	colTimeout
	colInode
	colRef
	colPointer
	columns
)

func parseRow(row string) (s Socket, err error) {
	f := strings.Fields(row)
	if len(f) < columns {
		return s, fmt.Errorf("%d columns instead of %d", len(f), columns)
	}

	if s.Local, err = parseAddress(f[colLocal]); err != nil {
		return s, err
	}

	if s.Remote, err = parseAddress(f[colRemote]); err != nil {
		return s, err
	}

	n := numbers{}
	tx, rx, _ := strings.Cut(f[colQueues], ":")
	timer, when, _ := strings.Cut(f[colTimer], ":")

	s.State, s.Timer = uint8(n.parse(f[colState], 16)), uint8(n.parse(timer, 16))
	s.TxQueue, s.RxQueue = n.parse(tx, 16), n.parse(rx, 16)
	s.TimerWhen, s.Retransmits = n.parse(when, 16), n.parse(f[colRetransmits], 16)
	s.UID, s.Timeout = uint32(n.parse(f[colUID], 10)), n.parse(f[colTimeout], 10)
	s.Inode, s.Ref, s.Pointer = n.parse(f[colInode], 10), n.parse(f[colRef], 10), n.parse(f[colPointer], 16)

	return s, n.err
}

// numbers keeps the first error of a row.
type numbers struct{ err error }

func (n *numbers) parse(text string, base int) uint64 {
	v, err := strconv.ParseUint(text, base, 64)
	if err != nil && n.err == nil {
		n.err = err
	}

	return v
}

// parseAddress reads ADDRESS:PORT in hexadecimal; the address is printed as 32-bit words of the machine's byte order.
func parseAddress(text string) (netip.AddrPort, error) {
	address, port, _ := strings.Cut(text, ":")

	raw, err := hex.DecodeString(address)
	if err != nil || len(raw) != 4 && len(raw) != 16 {
		return netip.AddrPort{}, fmt.Errorf("%q is not an address", text)
	}

	for word := raw; len(word) > 0; word = word[4:] {
		binary.NativeEndian.PutUint32(word, binary.BigEndian.Uint32(word))
	}

	number, err := strconv.ParseUint(port, 16, 16)
	if err != nil {
		return netip.AddrPort{}, fmt.Errorf("%q is not a port: %w", port, err)
	}

	addr, _ := netip.AddrFromSlice(raw)

	return netip.AddrPortFrom(addr, uint16(number)), nil
}

// Process holds a socket open.
type Process struct {
	PID  uint32
	Name string
}

// Holders finds the process of each socket by its inode. Of several it is not PID 1: that keeps what it hands to others.
// Processes that end meanwhile are passed over.
func Holders(proc string) map[uint64]Process {
	out := map[uint64]Process{}

	links, _ := filepath.Glob(filepath.Join(proc, "[0-9]*", "fd", "[0-9]*"))
	for _, link := range links {
		target, err := os.Readlink(link)
		if err != nil || !strings.HasPrefix(target, "socket:[") {
			continue
		}

		inode, err := strconv.ParseUint(strings.Trim(target, "socket:[]"), 10, 64)
		if err != nil {
			continue
		}

		dir := filepath.Dir(filepath.Dir(link))
		pid, _ := strconv.ParseUint(filepath.Base(dir), 10, 32)
		name, _ := os.ReadFile(filepath.Join(dir, "comm"))
		out[inode] = Process{PID: uint32(pid), Name: strings.ToValidUTF8(strings.TrimSpace(string(name)), "\uFFFD")}
	}

	return out
}
