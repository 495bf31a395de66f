// Package store is the one package of configd that touches the disk: the configuration, what is staged or tried beside
// it, and META. Every file is replaced as a whole.
package store

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/dactyl-os/dactyl/services/kit/atomicfile"
)

// Names of the files in the state directory. ConfigFile is part of the contract.
const (
	ConfigFile = "config.yaml"
	StagedFile = "config.staged.json"
	TryFile    = "config.try.json"
	MetaFile   = "meta"
)

// Pending is a configuration that is not the persisted one: staged for the next boot, or tried.
type Pending struct {
	Data []byte `json:"data"`
	// Base is the digest of the persisted configuration it was made against; one made against another is stale.
	Base string `json:"base"`
	// Boot is the boot in which it was staged.
	Boot string `json:"boot,omitempty"`
	// Deadline is when a try ends, by the wall clock; Timeout bounds it should that clock be wrong.
	Deadline time.Time     `json:"deadline,omitzero"`
	Timeout  time.Duration `json:"timeout,omitempty"`
}

// Digest identifies a configuration's bytes.
func Digest(data []byte) string {
	sum := sha256.Sum256(data)

	return hex.EncodeToString(sum[:])
}

// Store is a state directory.
type Store struct {
	// Prepare, if set, makes the directory last before a configuration is persisted in it.
	Prepare func(configuration []byte) error

	dir string
}

// Open makes the directory if it is not there and removes what a killed predecessor was about to write.
func Open(dir string) (*Store, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("make state directory: %w", err)
	}

	s := &Store{dir: dir}

	for _, name := range []string{ConfigFile, StagedFile, TryFile, MetaFile} {
		if err := atomicfile.Clean(s.path(name)); err != nil {
			return nil, fmt.Errorf("clean state directory: %w", err)
		}
	}

	return s, nil
}

func (s *Store) path(name string) string { return filepath.Join(s.dir, name) }

// read returns nil for a file that is not there.
func (s *Store) read(name string) ([]byte, error) {
	data, err := os.ReadFile(s.path(name))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}

	return data, err
}

func (s *Store) remove(name string) error {
	err := os.Remove(s.path(name))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}

	if err != nil {
		return err
	}

	return atomicfile.SyncDir(s.dir)
}

// Config reads the persisted configuration, nil if there is none.
func (s *Store) Config() ([]byte, error) { return s.read(ConfigFile) }

// SetConfig persists a configuration. What was staged or tried against the one before is stale from then on.
func (s *Store) SetConfig(data []byte) error {
	if s.Prepare != nil {
		if err := s.Prepare(data); err != nil {
			return err
		}
	}

	if err := atomicfile.Write(s.path(ConfigFile), data, 0o600); err != nil {
		return fmt.Errorf("persist configuration: %w", err)
	}

	return nil
}

// Pending reads the staged or tried configuration, nil if there is none.
func (s *Store) Pending(name string) (*Pending, error) {
	data, err := s.read(name)
	if err != nil || data == nil {
		return nil, err
	}

	p := &Pending{}
	if err := json.Unmarshal(data, p); err != nil {
		return nil, fmt.Errorf("read %s: %w", name, err)
	}

	return p, nil
}

// SetPending writes the staged or tried configuration.
func (s *Store) SetPending(name string, p Pending) error {
	data, err := json.Marshal(p)
	if err != nil {
		return fmt.Errorf("encode %s: %w", name, err)
	}

	if err := atomicfile.Write(s.path(name), data, 0o600); err != nil {
		return fmt.Errorf("write %s: %w", name, err)
	}

	return nil
}

// DropPending removes the staged or tried configuration.
func (s *Store) DropPending(name string) error {
	if err := s.remove(name); err != nil {
		return fmt.Errorf("remove %s: %w", name, err)
	}

	return nil
}

// Meta reads META's bytes, nil if there are none.
func (s *Store) Meta() ([]byte, error) { return s.read(MetaFile) }

// SetMeta replaces META's bytes.
func (s *Store) SetMeta(data []byte) error {
	if err := atomicfile.Write(s.path(MetaFile), data, 0o600); err != nil {
		return fmt.Errorf("write META: %w", err)
	}

	return nil
}

// SetAsideMeta keeps damaged bytes under another name, so that writing a value destroys nothing that might be saved.
func (s *Store) SetAsideMeta() error {
	return os.Rename(s.path(MetaFile), s.path(MetaFile+".damaged"))
}
