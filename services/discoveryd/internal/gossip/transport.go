package gossip

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/hashicorp/memberlist"
)

// packetSize is more than any packet that memberlist sends with our settings.
const packetSize = 4096

// transport carries memberlist's packets and streams over UDP and TCP. It is
// used instead of memberlist's own because that one allocates 64 KiB for every
// packet it receives.
type transport struct {
	packets  chan *memberlist.Packet
	streams  chan net.Conn
	udp      *net.UDPConn
	tcp      net.Listener
	done     chan struct{}
	wg       sync.WaitGroup
	stopOnce sync.Once
}

// listen opens the port on the given host, all addresses when empty.
func listen(ctx context.Context, host string, port int) (*transport, error) {
	var config net.ListenConfig

	address := net.JoinHostPort(host, strconv.Itoa(port))

	tcp, err := config.Listen(ctx, "tcp", address)
	if err != nil {
		return nil, fmt.Errorf("listen for gossip streams: %w", err)
	}

	packetConn, err := config.ListenPacket(ctx, "udp", address)
	if err != nil {
		_ = tcp.Close()

		return nil, fmt.Errorf("listen for gossip packets: %w", err)
	}

	t := &transport{
		packets: make(chan *memberlist.Packet),
		streams: make(chan net.Conn),
		udp:     packetConn.(*net.UDPConn), //nolint:forcetypeassert // what "udp" gives
		tcp:     tcp,
		done:    make(chan struct{}),
	}

	t.wg.Go(t.receive)
	t.wg.Go(t.accept)

	return t, nil
}

func (t *transport) receive() {
	buffer := make([]byte, packetSize)

	for {
		n, from, err := t.udp.ReadFromUDPAddrPort(buffer)
		if err != nil {
			if t.stopped(err) {
				return
			}

			continue
		}

		if n == 0 {
			continue
		}

		from = netip.AddrPortFrom(from.Addr().Unmap(), from.Port())
		packet := &memberlist.Packet{Buf: slices.Clone(buffer[:n]), From: net.UDPAddrFromAddrPort(from), Timestamp: time.Now()}

		select {
		case t.packets <- packet:
		case <-t.done:
			return
		}
	}
}

func (t *transport) accept() {
	for {
		conn, err := t.tcp.Accept()
		if err != nil {
			if t.stopped(err) {
				return
			}

			continue
		}

		select {
		case t.streams <- conn:
		case <-t.done:
			_ = conn.Close()

			return
		}
	}
}

// stopped tells the end from a passing error (ICMP errors, too many files),
// after which it holds the loop for a moment.
func (t *transport) stopped(error) bool {
	select {
	case <-t.done:
		return true
	case <-time.After(10 * time.Millisecond):
		return false
	}
}

// FinalAdvertiseAddr takes the configured address as it is.
func (t *transport) FinalAdvertiseAddr(ip string, port int) (net.IP, int, error) {
	addr, err := netip.ParseAddr(ip)
	if err != nil {
		return nil, 0, fmt.Errorf("parse advertised address: %w", err)
	}

	return addr.Unmap().AsSlice(), port, nil
}

// WriteTo sends one packet.
func (t *transport) WriteTo(data []byte, address string) (time.Time, error) {
	target, err := netip.ParseAddrPort(address)
	if err != nil {
		return time.Time{}, fmt.Errorf("parse peer address: %w", err)
	}

	_, err = t.udp.WriteToUDPAddrPort(data, target)

	return time.Now(), err
}

// WriteToAddress sends one packet; the node's name is not needed.
func (t *transport) WriteToAddress(data []byte, address memberlist.Address) (time.Time, error) {
	return t.WriteTo(data, address.Addr)
}

// PacketCh gives what arrives by UDP.
func (t *transport) PacketCh() <-chan *memberlist.Packet { return t.packets }

// DialTimeout opens a stream.
func (t *transport) DialTimeout(address string, timeout time.Duration) (net.Conn, error) {
	return net.DialTimeout("tcp", address, timeout)
}

// DialAddressTimeout opens a stream; the node's name is not needed.
func (t *transport) DialAddressTimeout(address memberlist.Address, timeout time.Duration) (net.Conn, error) {
	return t.DialTimeout(address.Addr, timeout)
}

// StreamCh gives the streams that others open.
func (t *transport) StreamCh() <-chan net.Conn { return t.streams }

// Shutdown closes the port and waits for the readers.
func (t *transport) Shutdown() error {
	t.stopOnce.Do(func() {
		close(t.done)
		_ = t.tcp.Close()
		_ = t.udp.Close()
	})

	t.wg.Wait()

	return nil
}
