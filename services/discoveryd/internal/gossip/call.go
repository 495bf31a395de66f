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
func (r *runner) call(ctx context.Context) {
	if r.list == nil || r.calling || time.Now().Before(r.nextCall) {
		return
	}

	list := r.list
	r.calling = true
	r.round++
	r.nextCall = time.Now().Add(seeds.Delay(r.round))

	r.calls.Go(func() {
		r.joined <- r.join(list, r.targets(ctx))
	})
}

func (r *runner) targets(ctx context.Context) []netip.Addr {
	r.mu.Lock()
	endpoint := r.settings.Endpoint
	r.mu.Unlock()

	found := resolve(ctx, endpoint)

	r.mu.Lock()
	defer r.mu.Unlock()

	there := map[string]bool{}

	var alive []netip.Addr

	for nodeID, addr := range r.addresses {
		there[nodeID] = true

		alive = append(alive, addr)
	}

	for _, other := range r.table.Others() {
		if there[other.NodeID] {
			alive = append(alive, other.Addresses...)
		}
	}

	return seeds.Targets(found, r.remembered, there, r.settings.Own, alive)
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
func (r *runner) join(list *memberlist.Memberlist, targets []netip.Addr) error {
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

func (r *runner) answered(err error) {
	r.calling = false

	if r.peers.Load() > 0 {
		r.warned = false

		return
	}

	if err != nil {
		r.log.Debug("no seed answered", "round", r.round, "error", err)
	}

	if err != nil && r.round >= lonelyRounds && !r.warned {
		r.warned = true
		r.log.Warn("no other node found yet", "error", err,
			"hint", "is one of them up, is port 50002 (tcp and udp) open between them, and is cluster.secret the same?")
	}
}
