package seeds

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/dactyl-os/dactyl/services/kit/atomicfile"
)

// FileName is the name of the file in the state directory.
const FileName = "discovery-peers.json"

// Load reads the remembered peers; none is no error.
func Load(stateDir string) ([]Peer, error) {
	path := filepath.Join(stateDir, FileName)

	if err := atomicfile.Clean(path); err != nil {
		return nil, fmt.Errorf("clean remembered peers: %w", err)
	}

	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}

	if err != nil {
		return nil, fmt.Errorf("read remembered peers: %w", err)
	}

	var peers []Peer
	if err := json.Unmarshal(data, &peers); err != nil {
		return nil, fmt.Errorf("parse remembered peers: %w", err)
	}

	return peers, nil
}

// Save writes the remembered peers.
func Save(stateDir string, peers []Peer) error {
	data, err := json.MarshalIndent(peers, "", "  ")
	if err != nil {
		return fmt.Errorf("encode remembered peers: %w", err)
	}

	if err := atomicfile.Write(filepath.Join(stateDir, FileName), append(data, '\n'), 0o600); err != nil {
		return fmt.Errorf("write remembered peers: %w", err)
	}

	return nil
}
