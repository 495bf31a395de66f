package record

import (
	"cmp"
	"maps"
	"slices"
)

// Table holds the newest record of every node that was heard of. It is not
// safe for concurrent use.
type Table struct {
	nodeID  string
	own     *Record
	heard   uint64 // the highest version heard of this node itself
	records map[string]Record
}

// NewTable is the table of the given node.
func NewTable(nodeID string) *Table {
	return &Table{nodeID: nodeID, records: map[string]Record{}}
}

// SetOwn replaces what this node says of itself and reports whether that
// changed; the version is counted here.
func (t *Table) SetOwn(r Record) bool {
	r.NodeID = t.nodeID
	if t.own != nil && r.Same(*t.own) {
		return false
	}

	if t.own != nil {
		t.heard = max(t.heard, t.own.Version)
	}

	r.Version = t.heard + 1
	t.own = &r

	return true
}

// Own is this node's record and whether it was set.
func (t *Table) Own() (Record, bool) {
	if t.own == nil {
		return Record{}, false
	}

	return *t.own, true
}

// Merge takes a record that was heard and reports whether another node's
// changed. raised means that it was about this node and from an earlier life
// of it: our own was raised above it and has to be told again.
func (t *Table) Merge(r Record) (changed, raised bool) {
	if r.NodeID == t.nodeID {
		return false, t.mergeOwn(r)
	}

	known, ok := t.records[r.NodeID]
	if ok && r.Version <= known.Version {
		return false, false
	}

	t.records[r.NodeID] = r

	return !ok || !known.Same(r), false
}

func (t *Table) mergeOwn(r Record) bool {
	t.heard = max(t.heard, r.Version)

	if t.own == nil || r.Version < t.own.Version || r.Version == t.own.Version && r.Same(*t.own) {
		return false
	}

	t.own.Version = t.heard + 1

	return true
}

// Forget drops the record of a node that is gone for good.
func (t *Table) Forget(nodeID string) { delete(t.records, nodeID) }

// Others lists the other nodes' records by node id.
func (t *Table) Others() []Record {
	return slices.SortedFunc(maps.Values(t.records), func(a, b Record) int { return cmp.Compare(a.NodeID, b.NodeID) })
}
