// Package names knows which targets are this node and where the others are.
package names

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

const (
	// Interfaces are asked again after this: addresses come and go without the gateway.
	addressAge = time.Second
	// lookupTime bounds DNS: who waits for a call by a name that nobody knows learns it soon.
	lookupTime = 2 * time.Second
	// formerNames are remembered of members that have another name now or are gone.
	formerNames = 256
)

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
	// former are names in lower case that members had and none has now.
	former map[string]bool
	own    []string
	local  map[netip.Addr]bool
	read   time.Time
}

type member struct {
	id, hostname string
	addresses    []netip.Addr
}

func (m member) named(name string) bool {
	return strings.EqualFold(m.id, name) || strings.EqualFold(m.hostname, name)
}

// NewBook makes the book of this machine.
func NewBook() *Book {
	return &Book{
		resolver: net.DefaultResolver, addresses: interfaceAddresses, hostname: os.Hostname, now: time.Now,
		members: map[string]member{}, former: map[string]bool{},
	}
}

// Member notes a member of the cluster by its identifier.
func (b *Book) Member(id, hostname string, addresses []netip.Addr) {
	b.mu.Lock()
	defer b.mu.Unlock()

	old := b.members[id]
	b.members[id] = member{id: id, hostname: hostname, addresses: slices.Clone(addresses)}
	b.renamed(old)
}

// Forget removes a member.
func (b *Book) Forget(id string) {
	b.mu.Lock()
	defer b.mu.Unlock()

	old := b.members[id]
	delete(b.members, id)
	b.renamed(old)
}

// renamed notes the names that a member had and no member has any more. The book is locked.
func (b *Book) renamed(old member) {
	for _, name := range []string{old.id, old.hostname} {
		if name != "" && len(b.former) < formerNames {
			b.former[strings.ToLower(name)] = true
		}
	}

	for _, member := range b.members {
		delete(b.former, strings.ToLower(member.id))
		delete(b.former, strings.ToLower(member.hostname))
	}
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

// Resolve gives the addresses of a node: as written, as a member, or as the system's resolver knows it. member says that the
// target is the name of a member. Names change hands: what it gives holds for one call.
func (b *Book) Resolve(ctx context.Context, host string) (addresses []netip.Addr, member bool, err error) {
	if address, err := netip.ParseAddr(host); err == nil {
		return []netip.Addr{address}, false, nil
	}

	if addresses := b.addressesOf(host); len(addresses) > 0 {
		return addresses, true, nil
	}

	if b.wasMember(host) {
		return nil, false, status.Errorf(codes.FailedPrecondition,
			"no member of the cluster is named %q any more; the names of now: get members", host)
	}

	addresses, err = b.lookup(ctx, host)

	return addresses, false, err
}

func (b *Book) lookup(ctx context.Context, host string) ([]netip.Addr, error) {
	ctx, cancel := context.WithTimeout(ctx, lookupTime)
	defer cancel()

	addresses, err := b.resolver.LookupNetIP(ctx, "ip", host)
	if err != nil {
		code := codes.Unavailable

		if unknown := new(net.DNSError); errors.As(err, &unknown) && unknown.IsNotFound {
			code = codes.FailedPrecondition
		}

		return nil, status.Errorf(code, "no member of the cluster and no host is named %q (%v); the names of members: get members", host, err)
	}

	for i, address := range addresses {
		addresses[i] = address.Unmap()
	}

	return addresses, nil
}

// Renamed says that a caller's name for this node is not its name, as far as the node knows its names.
func (b *Book) Renamed(target string, local net.Addr) bool {
	b.mu.RLock()
	known := len(b.own) > 0
	b.mu.RUnlock()

	return known && !b.Self(target, local)
}

// addressesOf gives the addresses of the member with a name; a name that two have is nobody's.
func (b *Book) addressesOf(name string) []netip.Addr {
	b.mu.RLock()
	defer b.mu.RUnlock()

	var found []netip.Addr

	for _, member := range b.members {
		switch {
		case !member.named(name):
		case found != nil && !slices.Equal(found, member.addresses):
			return nil
		default:
			found = member.addresses
		}
	}

	return found
}

func (b *Book) wasMember(name string) bool {
	b.mu.RLock()
	defer b.mu.RUnlock()

	if b.former[strings.ToLower(name)] {
		return true
	}

	// Two have it at the moment.
	for _, member := range b.members {
		if member.named(name) {
			return true
		}
	}

	return false
}

// isOwnName asks the kernel each time: the node's name may change hands.
func (b *Book) isOwnName(name string) bool {
	if uname, err := b.hostname(); err == nil && uname != "" && strings.EqualFold(uname, name) {
		return true
	}

	b.mu.RLock()
	defer b.mu.RUnlock()

	return slices.ContainsFunc(b.own, func(own string) bool { return own != "" && strings.EqualFold(own, name) })
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

	addresses, err := b.addresses()

	b.mu.Lock()
	defer b.mu.Unlock()

	b.read = now

	if err == nil {
		b.local = make(map[netip.Addr]bool, len(addresses))
		for _, address := range addresses {
			b.local[address.Unmap()] = true
		}
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
