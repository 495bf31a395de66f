// Package etcdsnapshot reads snapshots of etcd's database, and copies of the database file, without trusting them: the
// client does before it sends one, a node before it begins with one.
package etcdsnapshot

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"hash/crc32"
	"io"
	"os"
	"runtime/debug"
	"time"

	bolt "go.etcd.io/bbolt"
	bolterrors "go.etcd.io/bbolt/errors"
	"google.golang.org/protobuf/encoding/protowire"
)

// Errors that say what is wrong with a file.
var (
	ErrNoHash  = errors.New("it does not end with a SHA-256: it is cut off, or a copy of the database file (for such a copy: --recover-skip-hash-check)")
	ErrHash    = errors.New("its SHA-256 does not match: it is cut off or damaged, take another snapshot")
	ErrDamaged = errors.New("its database is damaged")
	// ErrLocked: a member runs on the file.
	ErrLocked = errors.New("the database is in use")
)

// Info is what etcd's tools tell of a snapshot, too.
type Info struct {
	// Hash is the CRC-32C of every bucket's name, keys and values.
	Hash uint32
	// Revision is the last one, Keys the number of keys that are there at it.
	Revision int64
	Keys     int
	// Size of the database in bytes.
	Size int64
}

func (i Info) String() string {
	return fmt.Sprintf("hash %08x, revision %d, total keys %d, total size %d", i.Hash, i.Revision, i.Keys, i.Size)
}

// Read checks the file and tells what is in it. A copy of the database file has no hash, which skipHash allows.
func Read(path string, skipHash bool) (Info, error) {
	if !skipHash {
		if err := checkHash(path); err != nil {
			return Info{}, fmt.Errorf("snapshot: %w", err)
		}
	}

	count := newCounter()
	if err := Walk(path, count.add); err != nil {
		return Info{}, fmt.Errorf("snapshot: %w", err)
	}

	return count.info(), nil
}

// checkHash compares the SHA-256 at the end with the rest. etcd tells by the size whether one is there: a database is whole
// pages.
func checkHash(path string) error {
	const sector = 512

	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()

	stat, err := f.Stat()
	if err != nil {
		return err
	}

	if stat.Size()%sector != sha256.Size {
		return ErrNoHash
	}

	got, want := sha256.New(), make([]byte, sha256.Size)
	if _, err = io.CopyN(got, f, stat.Size()-sha256.Size); err != nil {
		return err
	}

	if _, err = io.ReadFull(f, want); err != nil {
		return err
	}

	if !bytes.Equal(got.Sum(nil), want) {
		return ErrHash
	}

	return nil
}

// Visit sees an entry of a bucket, or with a nil key a bucket's beginning. The bytes are valid during the call only.
type Visit func(bucket, key, value []byte, size int64) error

// Walk reads every page of the file that holds something. What the database panics or faults with is an error.
func Walk(path string, visit Visit) error {
	done := make(chan error, 1)

	// What a fault does is set for a goroutine.
	go func() {
		debug.SetPanicOnFault(true)

		defer func() {
			if r := recover(); r != nil {
				done <- fmt.Errorf("%w (%v)", ErrDamaged, r)
			}
		}()

		done <- walk(path, visit)
	}()

	return <-done
}

func walk(path string, visit Visit) error {
	const (
		locked   = time.Second // by a member that runs on this file
		smallest = 16          // bytes of an entry
	)

	stat, err := os.Stat(path)
	if err != nil {
		return err
	}

	db, err := bolt.Open(path, 0, &bolt.Options{ReadOnly: true, PreLoadFreelist: true, Timeout: locked})
	if errors.Is(err, bolterrors.ErrTimeout) {
		return ErrLocked
	} else if err != nil {
		return fmt.Errorf("%w (%w)", ErrDamaged, err)
	}
	defer db.Close()

	entries := int64(0)
	err = db.View(func(tx *bolt.Tx) error {
		if tx.Size() > stat.Size() {
			return fmt.Errorf("%w (it is cut off at %d of %d bytes)", ErrDamaged, stat.Size(), tx.Size())
		}

		return tx.ForEach(func(name []byte, b *bolt.Bucket) error {
			if err := visit(name, nil, nil, tx.Size()); err != nil {
				return err
			}

			return b.ForEach(func(k, v []byte) error {
				if entries++; entries > tx.Size()/smallest {
					return fmt.Errorf("%w (a page is its own ancestor)", ErrDamaged)
				}

				return visit(name, k, v, tx.Size())
			})
		})
	})
	if err != nil {
		return fmt.Errorf("read database: %w", err)
	}

	return nil
}

// counter makes the Info of what is walked over.
type counter struct {
	sum  hash.Hash32
	seen map[string]struct{}
	last Info
}

func newCounter() *counter {
	return &counter{sum: crc32.New(crc32.MakeTable(crc32.Castagnoli)), seen: map[string]struct{}{}}
}

func (c *counter) add(bucket, key, value []byte, size int64) error {
	c.last.Size = size

	if key == nil {
		c.sum.Write(bucket)

		return nil
	}

	c.sum.Write(key)
	c.sum.Write(value)

	if string(bucket) != "key" {
		return nil
	}

	entry, err := Parse(key, value)
	if err != nil {
		return fmt.Errorf("%w (%w)", ErrDamaged, err)
	}

	c.last.Revision = entry.Revision
	if entry.Deleted {
		delete(c.seen, string(entry.Key))
	} else {
		c.seen[string(entry.Key)] = struct{}{}
	}

	return nil
}

func (c *counter) info() Info {
	c.last.Hash, c.last.Keys = c.sum.Sum32(), len(c.seen)

	return c.last
}

// Entry of the bucket "key": one change of one key.
type Entry struct {
	Key, Value []byte
	Revision   int64
	Deleted    bool
}

// Parse reads an entry: its key is the revision (8 bytes, big-endian, "_", 8 bytes; "t" behind them for a removal), its value
// an mvccpb.KeyValue.
func Parse(key, value []byte) (Entry, error) {
	const plain, tombstone = 17, 18

	if len(key) != plain && (len(key) != tombstone || key[plain] != 't') || key[8] != '_' {
		return Entry{}, fmt.Errorf("%x is no revision", key)
	}

	e := Entry{Deleted: len(key) == tombstone}
	for _, b := range key[:8] {
		e.Revision = e.Revision<<8 | int64(b)
	}

	const fieldKey, fieldValue = 1, 5

	for len(value) > 0 {
		number, kind, n := protowire.ConsumeTag(value)
		if n < 0 {
			return e, fmt.Errorf("revision %d: %w", e.Revision, protowire.ParseError(n))
		}

		size := protowire.ConsumeFieldValue(number, kind, value[n:])
		if size < 0 {
			return e, fmt.Errorf("revision %d: %w", e.Revision, protowire.ParseError(size))
		}

		if kind == protowire.BytesType && (number == fieldKey || number == fieldValue) {
			text, _ := protowire.ConsumeBytes(value[n:])
			if number == fieldKey {
				e.Key = text
			} else {
				e.Value = text
			}
		}

		value = value[n+size:]
	}

	return e, nil
}
