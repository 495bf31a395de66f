// Package store is the one package of configd that touches files: the configuration, what is staged or tried beside it, and
// META where it is a file. Every file is replaced as a whole, and the configuration has a copy.
package store

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/dactyl-os/dactyl/services/kit/atomicfile"
)

// Names of the files in the state directory. ConfigFile is part of the contract; CopyFile is its last good copy, with a checksum.
const (
	ConfigFile = "config.yaml"
	CopyFile   = "config.good"
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

	for _, name := range []string{ConfigFile, CopyFile, StagedFile, TryFile, MetaFile} {
		if err := atomicfile.Clean(string(s.file(name))); err != nil {
			return nil, fmt.Errorf("clean state directory: %w", err)
		}
	}

	return s, nil
}

func (s *Store) file(name string) File { return File(filepath.Join(s.dir, name)) }

// File is a file of the state directory beside the configuration.
func (s *Store) File(name string) File { return s.file(name) }

func (s *Store) config() atomicfile.Twin {
	return atomicfile.Twin{Path: string(s.file(ConfigFile)), Copy: string(s.file(CopyFile)), Mode: 0o600}
}

// Config reads the persisted configuration, nil if there is none. loads judges one that has no whole copy. What was mended is
// told; an error means that there is one and it cannot be read.
func (s *Store) Config(loads func([]byte) error) (data []byte, mended, err error) {
	return s.config().Read(loads)
}

// SetConfig persists a configuration. What was staged or tried against the one before is stale from then on.
func (s *Store) SetConfig(data []byte) error {
	if s.Prepare != nil {
		if err := s.Prepare(data); err != nil {
			return err
		}
	}

	if err := s.config().Write(data); err != nil {
		return fmt.Errorf("persist configuration: %w", err)
	}

	return nil
}

// SetAside keeps a damaged configuration that is about to be replaced: keys may be saved from it.
func (s *Store) SetAside() error { return s.config().SetAside() }

// Pending reads the staged or tried configuration, nil if there is none.
func (s *Store) Pending(name string) (*Pending, error) {
	data, err := s.file(name).Read(context.Background())
	if err != nil || data == nil {
		return nil, err
	}

	// Older builds wrote it without a checksum.
	if !bytes.HasPrefix(data, []byte("{")) {
		if data, err = atomicfile.Unseal(data); err != nil {
			return nil, fmt.Errorf("read %s: %w", name, err)
		}
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

	if err := s.file(name).Write(context.Background(), atomicfile.Seal(data)); err != nil {
		return fmt.Errorf("write %s: %w", name, err)
	}

	return nil
}

// DropPending removes the staged or tried configuration.
func (s *Store) DropPending(name string) error {
	if err := s.file(name).Remove(); err != nil {
		return fmt.Errorf("remove %s: %w", name, err)
	}

	return nil
}
