package rtnl

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"

	"github.com/jsimonetti/rtnetlink/v2"
	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"

	"github.com/dactyl-os/dactyl/services/networkd/internal/plan"
)

// batchSize operations go to the kernel in one system call. Their acknowledgements must fit the socket's receive buffer.
const batchSize = 64

// Apply carries out the operations in order. One that fails does not hold up the rest; the error joins them all, each
// with the operation it belongs to. Operations on what is already gone succeed.
func (c *Conn) Apply(s Snapshot, ops []plan.Op) error {
	index := make(map[string]uint32, len(s.Links))
	for _, l := range s.Links {
		index[l.Name] = l.Index
	}

	var errs []error

	for chunk := range slices.Chunk(ops, batchSize) {
		errs = append(errs, c.batch(index, chunk)...)
	}

	return errors.Join(errs...)
}

func (c *Conn) batch(index map[string]uint32, ops []plan.Op) (errs []error) {
	var (
		msgs []netlink.Message
		sent []plan.Op
	)

	for _, op := range ops {
		msg, err := message(index, op)
		if err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", op, err))

			continue
		}

		msgs, sent = append(msgs, msg), append(sent, op)
	}

	return append(errs, c.send(msgs, sent)...)
}

func (c *Conn) send(msgs []netlink.Message, ops []plan.Op) (errs []error) {
	if len(msgs) == 0 {
		return nil
	}

	c.mu.Lock()
	defer c.mu.Unlock()

	if err := c.begin(); err != nil {
		return []error{err}
	}

	if _, err := c.nl.SendMessages(msgs); err != nil {
		return []error{fmt.Errorf("send %d operations from %q: %w", len(ops), ops[0], err)}
	}

	// The kernel acknowledges each message, in order.
	for _, op := range ops {
		_, err := c.nl.Receive()
		c.late = c.late || !ofKernel(err)

		if err != nil && !alreadySo(op, err) {
			errs = append(errs, fmt.Errorf("%s: %w%s", op, plain(err), likely(op, err)))
		}
	}

	return errs
}

// plain drops the socket library's words around the kernel's error.
func plain(err error) error {
	var op *netlink.OpError
	if errors.As(err, &op) {
		if op.Message != "" {
			return fmt.Errorf("%w: %s", op.Err, op.Message)
		}

		return op.Err
	}

	return err
}

// likely is the reason that the kernel does not tell of itself.
func likely(op plan.Op, err error) string {
	add, ok := op.(plan.AddrAdd)
	if ok && add.Prefix.Addr().Is6() && errors.Is(err, unix.EINVAL) && plain(err).Error() == unix.EINVAL.Error() {
		return " (a link whose MTU is below 1280 has no IPv6)"
	}

	return ""
}

// alreadySo: what should go is gone, with its link or by another's hand.
func alreadySo(op plan.Op, err error) bool {
	switch op.(type) {
	case plan.AddrDel:
		return errors.Is(err, unix.EADDRNOTAVAIL) || errors.Is(err, unix.ENODEV)
	case plan.RouteDel:
		return errors.Is(err, unix.ESRCH) || errors.Is(err, unix.ENODEV)
	default:
		return false
	}
}

func message(index map[string]uint32, op plan.Op) (netlink.Message, error) {
	const create = netlink.Create | netlink.Replace

	switch op := op.(type) {
	case plan.LinkSet:
		return linkMessage(index, op)
	case plan.AddrAdd:
		return addressMessage(index, unix.RTM_NEWADDR, create, op.Address)
	case plan.AddrDel:
		return addressMessage(index, unix.RTM_DELADDR, 0, op.Address)
	case plan.RouteReplace:
		return routeMessage(index, unix.RTM_NEWROUTE, create, op.Route)
	case plan.RouteDel:
		return routeMessage(index, unix.RTM_DELROUTE, 0, op.Route)
	default:
		return netlink.Message{}, fmt.Errorf("unknown operation %T", op)
	}
}

func linkIndex(index map[string]uint32, name string) (uint32, error) {
	if i, ok := index[name]; ok {
		return i, nil
	}

	return 0, fmt.Errorf("no link %q", name)
}

func pack(kind netlink.HeaderType, flags netlink.HeaderFlags, m rtnetlink.Message) (netlink.Message, error) {
	data, err := m.MarshalBinary()

	return netlink.Message{
		Header: netlink.Header{Type: kind, Flags: netlink.Request | netlink.Acknowledge | flags},
		Data:   data,
	}, err
}

func linkMessage(index map[string]uint32, op plan.LinkSet) (netlink.Message, error) {
	i, err := linkIndex(index, op.Name)
	if err != nil {
		return netlink.Message{}, err
	}

	m := &rtnetlink.LinkMessage{Index: i, Attributes: &rtnetlink.LinkAttributes{MTU: op.MTU}}
	if op.Up {
		m.Flags, m.Change = unix.IFF_UP, unix.IFF_UP
	}

	return pack(unix.RTM_NEWLINK, 0, m)
}

func addressMessage(
	index map[string]uint32, kind netlink.HeaderType, flags netlink.HeaderFlags, a plan.Address,
) (netlink.Message, error) {
	i, err := linkIndex(index, a.Link)
	if err != nil {
		return netlink.Message{}, err
	}

	ip := net.IP(a.Prefix.Addr().AsSlice())
	m := &rtnetlink.AddressMessage{
		Family:       family(a.Prefix.Addr()),
		PrefixLength: uint8(a.Prefix.Bits()),
		Scope:        a.Scope,
		Index:        i,
		Attributes: &rtnetlink.AddressAttributes{
			Address:   ip,
			Local:     ip,
			Broadcast: broadcast(a.Prefix),
			Flags:     unix.IFA_F_PERMANENT,
		},
	}

	return pack(kind, flags, m)
}

// broadcast is the last address of an IPv4 subnet that has room for one; loopback has none.
func broadcast(p netip.Prefix) net.IP {
	if !p.Addr().Is4() || p.Bits() > 30 || p.Addr().IsLoopback() {
		return nil
	}

	ip := p.Addr().As4()
	mask := net.CIDRMask(p.Bits(), 32)

	for i := range ip {
		ip[i] |= ^mask[i]
	}

	return ip[:]
}

func routeMessage(
	index map[string]uint32, kind netlink.HeaderType, flags netlink.HeaderFlags, r plan.Route,
) (netlink.Message, error) {
	m := &rtnetlink.RouteMessage{
		Family:    family(r.Dst.Addr()),
		DstLength: uint8(r.Dst.Bits()),
		Protocol:  r.Protocol,
		Scope:     r.Scope,
		Type:      r.Type,
		Attributes: rtnetlink.RouteAttributes{
			Gateway:  r.Gateway.AsSlice(),
			Src:      r.Src.AsSlice(),
			Priority: r.Metric,
			Table:    r.Table,
		},
	}

	if r.Dst.Bits() > 0 {
		m.Attributes.Dst = r.Dst.Addr().AsSlice()
	}

	if r.MTU != 0 {
		m.Attributes.Metrics = &rtnetlink.RouteMetrics{MTU: r.MTU}
	}

	if r.Link != "" {
		i, err := linkIndex(index, r.Link)
		if err != nil {
			return netlink.Message{}, err
		}

		m.Attributes.OutIface = i
	}

	return pack(kind, flags, m)
}

func family(a netip.Addr) uint8 {
	if a.Is4() {
		return unix.AF_INET
	}

	return unix.AF_INET6
}
