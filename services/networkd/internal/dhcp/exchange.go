package dhcp

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"syscall"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"
	"github.com/insomniacslk/dhcp/dhcpv4/nclient4"
	"golang.org/x/sys/unix"
)

// Exchange talks to servers.
type Exchange interface {
	// Acquire asks any server for a lease.
	Acquire(ctx context.Context, link string) (*Lease, error)
	// Confirm asks any server whether the lease is good where the link is now. ErrRefused takes the lease away.
	Confirm(ctx context.Context, lease *Lease) (*Lease, error)
	// Extend asks the lease's server, or with broadcast any, for more time. ErrRefused takes the lease away.
	Extend(ctx context.Context, lease *Lease, broadcast bool) (*Lease, error)
}

// ErrRefused is a server's DHCPNAK.
var ErrRefused = errors.New("the server refused")

// A question is repeated after patience, that often.
const (
	patience = time.Second
	repeats  = 4
)

// Wire is the Exchange over the network. Sockets are open only while it talks.
type Wire struct{}

// Now reads the boot clock, which nobody sets.
func Now() time.Duration {
	var now unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &now); err != nil {
		panic(err) // Linux has it since 2.6.39
	}

	return time.Duration(now.Nano())
}

var asked = []dhcpv4.OptionCode{
	dhcpv4.OptionSubnetMask, dhcpv4.OptionClasslessStaticRoute, dhcpv4.OptionRouter, dhcpv4.OptionDomainNameServer,
	dhcpv4.OptionHostName, dhcpv4.OptionDomainName, dhcpv4.OptionInterfaceMTU, dhcpv4.OptionBroadcastAddress, dhcpv4.OptionNTPServers,
}

// Acquire is discover, offer, request, acknowledge by broadcast, from a link without address.
func (Wire) Acquire(ctx context.Context, link string) (*Lease, error) {
	client, err := nclient4.New(link, nclient4.WithTimeout(patience), nclient4.WithRetry(repeats))
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", link, err)
	}
	defer client.Close() // nothing is kept in it

	start := Now()

	lease, err := client.Request(ctx, dhcpv4.WithRequestedOptions(asked...))
	if err != nil {
		return nil, fmt.Errorf("ask for a lease on %s: %w", link, refusal(err))
	}

	return FromAck(link, lease.ACK, start)
}

// Confirm of a client that comes back with an address: INIT-REBOOT of RFC 2131, section 4.3.2.
func (Wire) Confirm(ctx context.Context, lease *Lease) (*Lease, error) {
	mac, err := net.ParseMAC(lease.HardwareAddr)
	if err != nil {
		return nil, fmt.Errorf("read the lease: %w", err)
	}

	request, err := dhcpv4.New(
		dhcpv4.WithHwAddr(mac), dhcpv4.WithMessageType(dhcpv4.MessageTypeRequest), dhcpv4.WithRequestedOptions(asked...),
		dhcpv4.WithOption(dhcpv4.OptRequestedIPAddress(lease.Address.Addr().AsSlice())),
		dhcpv4.WithOption(dhcpv4.OptMaxMessageSize(nclient4.MaxMessageSize)),
	)
	if err != nil {
		return nil, fmt.Errorf("make the request: %w", err)
	}

	return negotiate(ctx, lease, request, true)
}

// Extend by renewing or rebinding.
func (Wire) Extend(ctx context.Context, lease *Lease, broadcast bool) (*Lease, error) {
	ack, err := dhcpv4.FromBytes(lease.Ack)
	if err != nil {
		return nil, fmt.Errorf("read the lease: %w", err)
	}

	request, err := dhcpv4.NewRenewFromAck(ack, dhcpv4.WithRequestedOptions(asked...))
	if err != nil {
		return nil, fmt.Errorf("make the request: %w", err)
	}

	return negotiate(ctx, lease, request, broadcast)
}

// negotiate sends a request about a lease and gives what the answer makes of it.
func negotiate(ctx context.Context, lease *Lease, request *dhcpv4.DHCPv4, broadcast bool) (*Lease, error) {
	client, to, err := dial(ctx, lease, broadcast)
	if err != nil {
		return nil, err
	}
	defer client.Close() // nothing is kept in it

	start := Now()

	answer, err := client.SendAndRead(ctx, to, request, nclient4.IsMessageType(dhcpv4.MessageTypeAck, dhcpv4.MessageTypeNak))

	switch {
	case err != nil:
		return nil, fmt.Errorf("ask about lease %s: %w", lease, err)
	case answer.MessageType() == dhcpv4.MessageTypeNak:
		return nil, fmt.Errorf("ask about lease %s: %w", lease, ErrRefused)
	}

	return FromAck(lease.Link, answer, start)
}

// dial opens the way to the lease's server by its address, or to all servers.
func dial(ctx context.Context, lease *Lease, broadcast bool) (*nclient4.Client, *net.UDPAddr, error) {
	options := []nclient4.ClientOpt{nclient4.WithTimeout(patience), nclient4.WithRetry(repeats)}

	if broadcast || !lease.Server.IsValid() {
		client, err := nclient4.New(lease.Link, options...)
		if err != nil {
			return nil, nil, fmt.Errorf("open %s: %w", lease.Link, err)
		}

		return client, nclient4.DefaultServers, nil
	}

	config := net.ListenConfig{Control: func(_, _ string, raw syscall.RawConn) error { return bindTo(raw, lease.Link) }}

	// Not bound to the lease's address: servers refuse by broadcast.
	conn, err := config.ListenPacket(ctx, "udp4", netip.AddrPortFrom(netip.IPv4Unspecified(), nclient4.ClientPort).String())
	if err != nil {
		return nil, nil, fmt.Errorf("open port of DHCP clients on %s: %w", lease.Link, err)
	}

	mac, err := net.ParseMAC(lease.HardwareAddr)
	if err != nil {
		return nil, nil, errors.Join(fmt.Errorf("read the lease: %w", err), conn.Close())
	}

	client, err := nclient4.NewWithConn(conn, mac, options...)
	if err != nil {
		return nil, nil, errors.Join(fmt.Errorf("talk to %s: %w", lease.Server, err), conn.Close())
	}

	return client, net.UDPAddrFromAddrPort(netip.AddrPortFrom(lease.Server, nclient4.ServerPort)), nil
}

func bindTo(raw syscall.RawConn, link string) error {
	var bound error

	if err := raw.Control(func(fd uintptr) { bound = unix.BindToDevice(int(fd), link) }); err != nil {
		return err
	}

	return bound
}

func refusal(err error) error {
	if nak := (*nclient4.ErrNak)(nil); errors.As(err, &nak) {
		return ErrRefused
	}

	return err
}
