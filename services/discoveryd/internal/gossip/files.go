package gossip

import (
	"errors"
	"io/fs"
	"os"

	"github.com/dactyl-os/dactyl/services/discoveryd/internal/record"
	"github.com/dactyl-os/dactyl/services/discoveryd/internal/seeds"
	"github.com/dactyl-os/dactyl/services/kit/atomicfile"
)

// restore reads both files: the nodes known before, and the own record.
func (m *Mesh) restore() (known []string, own *record.Record) {
	var err error

	if m.remembered, err = seeds.Load(m.files.StateDir); err != nil {
		m.log.Warn("remembered peers are not used", "error", err)
	}

	data, err := os.ReadFile(m.files.Table)
	if err != nil {
		if !errors.Is(err, fs.ErrNotExist) {
			m.log.Warn("table of the daemon's earlier life is not used", "error", err)
		}

		return nil, nil
	}

	var records []record.Record

	if data, err = atomicfile.Unseal(data); err == nil {
		records, err = record.DecodeAll(data)
	}

	if err != nil {
		m.log.Warn("table of the daemon's earlier life is not used", "error", err)

		return nil, nil
	}

	for _, r := range records {
		m.table.Merge(r)

		if r.NodeID == m.nodeID {
			own = &r
		} else {
			known = append(known, r.NodeID)
		}
	}

	return known, own
}

// save writes both files when they would change.
func (m *Mesh) save(written []byte) []byte {
	data := record.EncodeAll(m.knownRecords())

	if string(data) != string(written) {
		if err := atomicfile.Write(m.files.Table, atomicfile.Seal(data), 0o600); err != nil {
			m.log.Warn("table not kept", "error", err)
		}
	}

	peers, changed := m.remember()
	if changed {
		if err := seeds.Save(m.files.StateDir, peers); err != nil {
			m.log.Warn("peers not remembered", "error", err)
		}
	}

	return data
}

// maxAddresses per remembered peer: the one that worked, and some that may.
const maxAddresses = 4

func (m *Mesh) remember() ([]seeds.Peer, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()

	var now []seeds.Peer

	for _, r := range m.table.Others() {
		addr, there := m.addresses[r.NodeID]
		if !there {
			continue
		}

		peer := seeds.Peer{NodeID: r.NodeID}
		peer.Addresses = append(peer.Addresses, addr)

		for _, other := range r.Addresses {
			if other != addr && len(peer.Addresses) < maxAddresses {
				peer.Addresses = append(peer.Addresses, other)
			}
		}

		now = append(now, peer)
	}

	peers := seeds.Remember(now, m.remembered)
	if seeds.Equal(peers, m.remembered) {
		return nil, false
	}

	m.remembered = peers

	return peers, true
}
