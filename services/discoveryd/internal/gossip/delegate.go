package gossip

import (
	"github.com/hashicorp/memberlist"

	"github.com/dactyl-os/dactyl/services/discoveryd/internal/record"
)

// maxBroadcast is the largest record told by packets; larger ones go by stream.
// With memberlist's own headers it stays below the smallest MTU of IPv6.
const maxBroadcast = 1000

// delegate is what memberlist calls back. memberlist may hold its own locks
// then: only the mesh's lock is taken, and memberlist is never called.
type delegate struct{ mesh *Mesh }

// NodeMeta is unused: 512 bytes are not enough for all addresses of a node.
func (d delegate) NodeMeta(int) []byte { return nil }

// NotifyMsg takes one record.
func (d delegate) NotifyMsg(data []byte) {
	r, err := record.Decode(data)
	if err != nil {
		d.mesh.log.Debug("dropped a message", "error", err)

		return
	}

	d.mesh.heard([]record.Record{r})
}

// GetBroadcasts gives what is to be told.
func (d delegate) GetBroadcasts(overhead, limit int) [][]byte {
	return d.mesh.queue.GetBroadcasts(overhead, limit)
}

// LocalState is the whole table, for a node that joins and for repair.
func (d delegate) LocalState(bool) []byte { return record.EncodeAll(d.mesh.knownRecords()) }

// MergeRemoteState takes another node's whole table.
func (d delegate) MergeRemoteState(data []byte, _ bool) {
	records, err := record.DecodeAll(data)
	if err != nil {
		d.mesh.log.Debug("dropped a table", "error", err)

		return
	}

	d.mesh.heard(records)
}

// NotifyJoin notes that a node is there.
func (d delegate) NotifyJoin(node *memberlist.Node) { d.mesh.joined(node) }

// NotifyLeave notes that a node left or failed.
func (d delegate) NotifyLeave(node *memberlist.Node) { d.mesh.left(node.Name) }

// NotifyUpdate is about metadata, which is unused.
func (d delegate) NotifyUpdate(*memberlist.Node) {}

// broadcast is a record on its way; a newer one of the same node replaces it.
type broadcast struct {
	nodeID string
	data   []byte
}

func (b broadcast) Name() string { return b.nodeID }

func (b broadcast) Invalidates(other memberlist.Broadcast) bool {
	older, ok := other.(broadcast)

	return ok && older.nodeID == b.nodeID
}

func (b broadcast) Message() []byte { return b.data }

func (b broadcast) Finished() {}
