// Package membership decides who counts as a member. It is pure: what was
// heard and the time go in, the members come out.
package membership

import (
	"cmp"
	"slices"
	"time"

	"github.com/dactyl-os/dactyl/services/discoveryd/internal/record"
)

// Grace is how long a node that went away stays a member: long enough for a
// daemon's restart, a quick reboot or a cable moved to another port.
const Grace = 30 * time.Second

// Presence follows which nodes are there. The zero value is not usable; it is
// not safe for concurrent use.
type Presence struct {
	goneAt map[string]time.Time // the zero time: it is there
}

// NewPresence starts with nodes known from an earlier life, as if they had just gone.
func NewPresence(known []string, now time.Time) *Presence {
	p := &Presence{goneAt: map[string]time.Time{}}

	for _, nodeID := range known {
		p.goneAt[nodeID] = now
	}

	return p
}

// Joined notes that a node is there.
func (p *Presence) Joined(nodeID string) { p.goneAt[nodeID] = time.Time{} }

// Left notes that a node left or failed.
func (p *Presence) Left(nodeID string, now time.Time) {
	if at, known := p.goneAt[nodeID]; known && at.IsZero() {
		p.goneAt[nodeID] = now
	}
}

// AllLeft notes that this node itself fell out, as when its address changes.
func (p *Presence) AllLeft(now time.Time) {
	for nodeID := range p.goneAt {
		p.Left(nodeID, now)
	}
}

// There reports that a node is there now, grace not counted.
func (p *Presence) There(nodeID string) bool {
	at, known := p.goneAt[nodeID]

	return known && at.IsZero()
}

// Expire forgets the nodes whose grace is over and lists them; next is when to
// look again, zero when no grace runs.
func (p *Presence) Expire(now time.Time) (expired []string, next time.Time) {
	for nodeID, at := range p.goneAt {
		end := at.Add(Grace)

		switch {
		case at.IsZero():
		case !now.Before(end):
			delete(p.goneAt, nodeID)
			expired = append(expired, nodeID)
		case next.IsZero() || end.Before(next):
			next = end
		}
	}

	slices.Sort(expired)

	return expired, next
}

// Known reports that a node is there or in its grace.
func (p *Presence) Known(nodeID string) bool {
	_, known := p.goneAt[nodeID]

	return known
}

// Affiliates are the records of the nodes that count, by node id, this node's own first.
func Affiliates(own record.Record, others []record.Record, presence *Presence) []record.Record {
	list := []record.Record{own}

	for _, r := range others {
		if presence.Known(r.NodeID) && r.NodeID != own.NodeID {
			list = append(list, r)
		}
	}

	return list
}

// Member is an affiliate under the name by which it is a member.
type Member struct {
	Name string
	record.Record
}

// Members are the affiliates that have a name, one for each name. Where two
// claim one, the node itself wins over others and one that is there over one
// that went away (as after a reset, when the old identity is still in its
// grace); among equals the choice is arbitrary but the same everywhere.
func Members(own string, affiliates []record.Record, presence *Presence) []Member {
	best := map[string]record.Record{}

	for _, r := range affiliates {
		name := cmp.Or(r.Nodename, r.Hostname)
		if name == "" {
			continue
		}

		if known, taken := best[name]; !taken || rank(own, r, presence) > rank(own, known, presence) ||
			rank(own, r, presence) == rank(own, known, presence) && r.NodeID < known.NodeID {
			best[name] = r
		}
	}

	members := make([]Member, 0, len(best))
	for name, r := range best {
		members = append(members, Member{Name: name, Record: r})
	}

	slices.SortFunc(members, func(a, b Member) int { return cmp.Compare(a.Name, b.Name) })

	return members
}

func rank(own string, r record.Record, presence *Presence) int {
	switch {
	case r.NodeID == own:
		return 2
	case presence.There(r.NodeID):
		return 1
	default:
		return 0
	}
}
