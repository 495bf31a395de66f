// Package gossip keeps this node in touch with the others of its cluster by
// hashicorp/memberlist: encrypted packets and streams on one port, no outside
// service. It is the only package of discoveryd that touches the network.
package gossip

import (
	"log/slog"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/memberlist"

	"github.com/dactyl-os/dactyl/services/discoveryd/internal/membership"
	"github.com/dactyl-os/dactyl/services/discoveryd/internal/record"
	"github.com/dactyl-os/dactyl/services/discoveryd/internal/seeds"
	"github.com/dactyl-os/dactyl/services/kit/poke"
)

// Port is used for both UDP and TCP, on every node.
const Port = 50002

// Settings are what the configuration asks for.
type Settings struct {
	Enabled bool
	// Key encrypts all traffic (32 bytes, AES-256-GCM); Label keeps clusters apart.
	Key   []byte
	Label string
	// Advertise is the address at which the others reach this node.
	Advertise netip.Addr
	// Own are all addresses of this node, Endpoint the host of the control plane endpoint (a name or an address).
	Own      []netip.Addr
	Endpoint string
}

func (s Settings) sameMesh(other Settings) bool {
	return s.usable() == other.usable() && slices.Equal(s.Key, other.Key) && s.Label == other.Label && s.Advertise == other.Advertise
}

func (s Settings) usable() bool { return s.Enabled && len(s.Key) > 0 && s.Advertise.IsValid() }

// View is what is known of the cluster at one moment.
type View struct {
	Affiliates []record.Record
	Members    []membership.Member
	// Self is this node's id.
	Self string
}

// Mesh is this node's place in the gossip.
type Mesh struct {
	nodeID string
	log    *slog.Logger
	files  Files
	queue  *memberlist.TransmitLimitedQueue
	// peers counts the nodes there, for the queue, without a lock.
	peers   atomic.Int64
	changed poke.Chan // for the reader of View
	wake    poke.Chan // for Run

	mu         sync.Mutex
	settings   Settings
	table      *record.Table
	presence   *membership.Presence
	addresses  map[string]netip.Addr // where the nodes that are there were reached
	remembered []seeds.Peer
	largeOwn   bool // the own record must be told by streams
}

// Files are where a mesh keeps what must survive: the table over this daemon's
// own restart (the file Table), the peers over the machine's (the directory StateDir).
type Files struct {
	Table, StateDir string
}

// New makes a mesh that knows what its files tell. Damaged files cost only time.
func New(nodeID string, files Files, log *slog.Logger) *Mesh {
	m := &Mesh{
		nodeID: nodeID, log: log, files: files,
		changed: poke.New(), wake: poke.New(),
		table: record.NewTable(nodeID), addresses: map[string]netip.Addr{},
	}

	m.queue = &memberlist.TransmitLimitedQueue{NumNodes: func() int { return int(m.peers.Load()) + 1 }, RetransmitMult: retransmits}

	known, own := m.restore()
	m.presence = membership.NewPresence(known, time.Now())

	if own != nil {
		m.table.SetOwn(*own)
	}

	return m
}

// Changed tells that View has something new.
func (m *Mesh) Changed() <-chan struct{} { return m.changed }

// View gives the affiliates and members of this moment; false as long as this
// node does not know itself.
func (m *Mesh) View() (View, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()

	own, ok := m.table.Own()
	if !ok {
		return View{}, false
	}

	affiliates := membership.Affiliates(own, m.table.Others(), m.presence)

	return View{Self: m.nodeID, Affiliates: affiliates, Members: membership.Members(m.nodeID, affiliates, m.presence)}, true
}

// There says whether a node answers now; a member that went away is one for a while longer.
func (m *Mesh) There(nodeID string) bool {
	m.mu.Lock()
	defer m.mu.Unlock()

	return nodeID == m.nodeID || m.presence.There(nodeID)
}

// Configure sets what the configuration asks for.
func (m *Mesh) Configure(settings Settings) {
	m.mu.Lock()
	m.settings = settings
	m.mu.Unlock()

	m.wake.Poke()
}

// Describe sets what this node says of itself.
func (m *Mesh) Describe(own record.Record) {
	m.mu.Lock()

	changed := m.table.SetOwn(own)
	if changed {
		m.tellOwn()
	}

	m.mu.Unlock()

	if changed {
		m.changed.Poke()
		m.wake.Poke()
	}
}

// tellOwn puts the own record on its way; m.mu is held.
func (m *Mesh) tellOwn() {
	own, ok := m.table.Own()
	if !ok {
		return
	}

	if !m.tell(own) {
		m.largeOwn = true
	}
}

// tell reports false for a record that no packet takes.
func (m *Mesh) tell(r record.Record) bool {
	data := r.Encode()
	if len(data) > maxBroadcast {
		return false
	}

	m.queue.QueueBroadcast(broadcast{nodeID: r.NodeID, data: data})

	return true
}

func (m *Mesh) heard(records []record.Record) {
	m.mu.Lock()

	var anyChanged, anyRaised bool

	for _, r := range records {
		changed, raised := m.table.Merge(r)
		if changed {
			m.tell(r)
		}

		anyChanged, anyRaised = anyChanged || changed, anyRaised || raised
	}

	if anyRaised {
		m.tellOwn()
	}

	m.mu.Unlock()

	if anyChanged || anyRaised {
		m.changed.Poke()
		m.wake.Poke()
	}
}

func (m *Mesh) joined(node *memberlist.Node) {
	if node.Name == m.nodeID {
		return
	}

	addr, _ := netip.AddrFromSlice(node.Addr)

	m.mu.Lock()
	m.presence.Joined(node.Name)
	m.addresses[node.Name] = addr.Unmap()
	m.peers.Store(int64(len(m.addresses)))
	m.mu.Unlock()

	m.log.Info("node joined", "node", node.Name, "address", addr.Unmap())
	m.changed.Poke()
	m.wake.Poke()
}

func (m *Mesh) left(nodeID string) {
	if nodeID == m.nodeID {
		return
	}

	m.mu.Lock()
	m.presence.Left(nodeID, time.Now())
	delete(m.addresses, nodeID)
	m.peers.Store(int64(len(m.addresses)))
	m.mu.Unlock()

	m.log.Info("node left or failed", "node", nodeID, "kept", membership.Grace)
	m.changed.Poke()
	m.wake.Poke()
}

// knownRecords are the own record and those of the nodes that count: others
// are not passed on, or a node that is gone would be told of for ever.
func (m *Mesh) knownRecords() []record.Record {
	m.mu.Lock()
	defer m.mu.Unlock()

	own, ok := m.table.Own()
	if !ok {
		return nil
	}

	return membership.Affiliates(own, m.table.Others(), m.presence)
}
