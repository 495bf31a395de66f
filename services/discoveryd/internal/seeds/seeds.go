// Package seeds decides which addresses to call in order to find the cluster.
package seeds

import (
	"net/netip"
	"slices"
	"time"
)

// Peer is a node met before.
type Peer struct {
	NodeID    string       `json:"nodeId"`
	Addresses []netip.Addr `json:"addresses"`
}

// MaxPeers bounds the file of remembered peers.
const MaxPeers = 64

// Targets are the addresses to call now: the endpoint's and those of remembered
// peers, without what answers already (by node or by address) and this node's
// own. An endpoint that no member has may lead to another part of the cluster.
func Targets(endpoint []netip.Addr, remembered []Peer, there map[string]bool, own, alive []netip.Addr) []netip.Addr {
	var targets []netip.Addr

	add := func(addr netip.Addr) {
		addr = addr.Unmap()
		if addr.IsValid() && !addr.IsLoopback() && !slices.Contains(own, addr) && !slices.Contains(alive, addr) && !slices.Contains(targets, addr) {
			targets = append(targets, addr)
		}
	}

	for _, addr := range endpoint {
		add(addr)
	}

	for _, peer := range remembered {
		if there[peer.NodeID] {
			continue
		}

		for _, addr := range peer.Addresses {
			add(addr)
		}
	}

	return targets
}

// Delay is how long to wait before the next round of calls: quick after the
// start, when every node of a cluster may be starting, and slow once nothing
// has changed for a while.
func Delay(round int) time.Duration {
	const (
		first = 100 * time.Millisecond
		last  = 30 * time.Second
	)

	if round > 16 {
		return last
	}

	return min(first<<max(round-2, 0), last)
}

// Remember is the list to keep: the peers met now first, then those of before,
// newest first, so that a cluster is found again even after long partitions.
func Remember(now, before []Peer) []Peer {
	kept := make([]Peer, 0, len(now)+len(before))

	for _, peer := range slices.Concat(now, before) {
		if len(kept) == MaxPeers {
			break
		}

		if len(peer.Addresses) > 0 && !slices.ContainsFunc(kept, func(k Peer) bool { return k.NodeID == peer.NodeID }) {
			kept = append(kept, peer)
		}
	}

	return kept
}

// Equal compares two lists of peers.
func Equal(a, b []Peer) bool {
	return slices.EqualFunc(a, b, func(x, y Peer) bool {
		return x.NodeID == y.NodeID && slices.Equal(x.Addresses, y.Addresses)
	})
}
