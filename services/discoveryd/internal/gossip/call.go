package gossip

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/memberlist"

	"github.com/dactyl-os/dactyl/services/discoveryd/internal/seeds"
)

// call asks the seeds that are not there to let this node in.
func (l *loop) call(ctx context.Context) {
	if l.list == nil || l.calling || time.Now().Before(l.nextCall) {
		return
	}

	list := l.list
	l.calling = true
	l.round++
	l.nextCall = time.Now().Add(seeds.Delay(l.round))

	l.calls.Go(func() {
		l.joined <- l.join(list, l.targets(ctx))
	})
}

func (l *loop) targets(ctx context.Context) []netip.Addr {
	l.mu.Lock()
	endpoint := l.settings.Endpoint
	l.mu.Unlock()

	found := resolve(ctx, endpoint)

	l.mu.Lock()
	defer l.mu.Unlock()

	there := map[string]bool{}

	var alive []netip.Addr

	for nodeID, addr := range l.addresses {
		there[nodeID] = true

		alive = append(alive, addr)
	}

	for _, other := range l.table.Others() {
		if there[other.NodeID] {
			alive = append(alive, other.Addresses...)
		}
	}

	return seeds.Targets(found, l.remembered, there, l.settings.Own, alive)
}

func resolve(ctx context.Context, host string) []netip.Addr {
	if addr, err := netip.ParseAddr(host); err == nil {
		return []netip.Addr{addr}
	}

	if host == "" {
		return nil
	}

	ctx, cancel := context.WithTimeout(ctx, streamTime)
	defer cancel()

	// A name that does not resolve now is asked again in the next round.
	found, _ := net.DefaultResolver.LookupNetIP(ctx, "ip", host)

	return found
}

// join calls all targets at once: one that is down must not hold up the others.
func (l *loop) join(list *memberlist.Memberlist, targets []netip.Addr) error {
	var (
		wg    sync.WaitGroup
		mu    sync.Mutex
		first error
	)

	for _, target := range targets {
		wg.Go(func() {
			_, err := list.Join([]string{net.JoinHostPort(target.String(), strconv.Itoa(Port))})
			if err == nil {
				return
			}

			mu.Lock()
			defer mu.Unlock()

			if first == nil {
				first = fmt.Errorf("%s: %s", target, strings.Join(strings.Fields(err.Error()), " "))
			}
		})
	}

	wg.Wait()

	return first
}

func (l *loop) answered(err error) {
	l.calling = false

	if l.peers.Load() > 0 {
		l.warned = false

		return
	}

	if err != nil {
		l.log.Debug("no seed answered", "round", l.round, "error", err)
	}

	if err != nil && l.round >= lonelyRounds && !l.warned {
		l.warned = true
		l.log.Warn("no other node found yet", "error", err,
			"hint", "is one of them up, is port 50002 (tcp and udp) open between them, and is cluster.secret the same?")
	}
}
