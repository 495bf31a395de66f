// Package names knows which targets are this node and where the others are.
package names

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"sync"
	"time"
)

// Interfaces are asked again after this: addresses come and go without the gateway.
const addressAge = time.Second

// Resolver looks up what the book does not know: /etc/hosts and DNS.
type Resolver interface {
	LookupNetIP(ctx context.Context, network, host string) ([]netip.Addr, error)
}

// Book is the gateway's list of names and addresses.
type Book struct {
	resolver  Resolver
	addresses func() ([]netip.Addr, error)
	hostname  func() (string, error)
	now       func() time.Time

	mu      sync.RWMutex
	members map[string]member
	own     []string
	local   map[netip.Addr]bool
	uname   string
	read    time.Time
}

type member struct {
	hostname  string
	addresses []netip.Addr
}

// NewBook makes the book of this machine.
func NewBook() *Book {
	return &Book{
		resolver: net.DefaultResolver, addresses: interfaceAddresses, hostname: os.Hostname, now: time.Now,
		members: map[string]member{},
	}
}

// Member notes a member of the cluster by its identifier.
func (b *Book) Member(id, hostname string, addresses []netip.Addr) {
	b.mu.Lock()
	defer b.mu.Unlock()

	b.members[id] = member{hostname: hostname, addresses: slices.Clone(addresses)}
}

// Forget removes a member.
func (b *Book) Forget(id string) {
	b.mu.Lock()
	defer b.mu.Unlock()

	delete(b.members, id)
}

// Own notes this node's name.
func (b *Book) Own(hostname, domain string) {
	b.mu.Lock()
	defer b.mu.Unlock()

	b.own = []string{hostname}
	if domain != "" {
		b.own = append(b.own, hostname+"."+domain)
	}
}

// Self says whether a target is this node; local is the address on which the call came.
func (b *Book) Self(target string, local net.Addr) bool {
	if address, err := netip.ParseAddr(target); err == nil {
		address = address.Unmap().WithZone("")

		return isAddress(local, address) || b.isLocal(address)
	}

	if strings.EqualFold(target, "localhost") || b.isOwnName(target) {
		return true
	}

	return slices.ContainsFunc(b.addressesOf(target), b.isLocal)
}

// Resolve gives the addresses of a node: as written, as a member, or as the system's resolver knows it.
func (b *Book) Resolve(ctx context.Context, host string) ([]netip.Addr, error) {
	if address, err := netip.ParseAddr(host); err == nil {
		return []netip.Addr{address}, nil
	}

	if addresses := b.addressesOf(host); len(addresses) > 0 {
		return addresses, nil
	}

	addresses, err := b.resolver.LookupNetIP(ctx, "ip", host)
	if err != nil {
		return nil, fmt.Errorf("no member of the cluster and no host is named %q: %w", host, err)
	}

	for i, address := range addresses {
		addresses[i] = address.Unmap()
	}

	return addresses, nil
}

func (b *Book) addressesOf(name string) []netip.Addr {
	b.mu.RLock()
	defer b.mu.RUnlock()

	for id, member := range b.members {
		if strings.EqualFold(id, name) || strings.EqualFold(member.hostname, name) {
			return member.addresses
		}
	}

	return nil
}

func (b *Book) isOwnName(name string) bool {
	b.refresh()

	b.mu.RLock()
	defer b.mu.RUnlock()

	return b.uname != "" && strings.EqualFold(b.uname, name) ||
		slices.ContainsFunc(b.own, func(own string) bool { return own != "" && strings.EqualFold(own, name) })
}

func (b *Book) isLocal(address netip.Addr) bool {
	b.refresh()

	b.mu.RLock()
	defer b.mu.RUnlock()

	return b.local[address.Unmap()]
}

// refresh reads the kernel's view when the last one is old; on failure the old one stays.
func (b *Book) refresh() {
	now := b.now()

	b.mu.RLock()
	fresh := now.Sub(b.read) < addressAge && !b.read.IsZero()
	b.mu.RUnlock()

	if fresh {
		return
	}

	addresses, addressErr := b.addresses()
	hostname, hostnameErr := b.hostname()

	b.mu.Lock()
	defer b.mu.Unlock()

	b.read = now

	if addressErr == nil {
		b.local = make(map[netip.Addr]bool, len(addresses))
		for _, address := range addresses {
			b.local[address.Unmap()] = true
		}
	}

	if hostnameErr == nil {
		b.uname = hostname
	}
}

func isAddress(local net.Addr, address netip.Addr) bool {
	tcp, ok := local.(*net.TCPAddr)

	return ok && tcp.AddrPort().Addr().Unmap().WithZone("") == address
}

func interfaceAddresses() ([]netip.Addr, error) {
	found, err := net.InterfaceAddrs()
	if err != nil {
		return nil, fmt.Errorf("list addresses: %w", err)
	}

	addresses := make([]netip.Addr, 0, len(found))

	for _, address := range found {
		if prefix, err := netip.ParsePrefix(address.String()); err == nil {
			addresses = append(addresses, prefix.Addr())
		}
	}

	return addresses, nil
}
